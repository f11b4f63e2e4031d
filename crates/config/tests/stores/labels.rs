//! Labels: their scopes, and the kinds of their stores.

use blobaccess::StorageType::{Ac, Cas};
use blobaccess::{BlobAccessExt, Context};
use blobaccess_config::{Document, Faults, StacksPlan};
use blobaccess_testkit::digest_of;

use super::{KINDS, faults, fill, open, registry};

#[test]
fn a_label_is_visible_in_what_is_beneath_its_declaration() {
    for kind in KINDS {
        let good = [
            "{'withLabels': {'labels': {'a': 'M'}, 'backend': {'label': 'a'}}}",
            "{'withLabels': {'labels': {'': 'M'}, 'backend': {'label': ''}}}",
            // Nothing uses it.
            "{'withLabels': {'labels': {'a': 'M', 'b': 'N'}, 'backend': 'M'}}",
            "{'withLabels': {'backend': 'M'}}",
            // In labels further inside, too.
            "{'withLabels': {'labels': {'a': 'M'}, 'backend': {'withLabels': {'labels': {'b': {'label': 'a'}}, 'backend': {'label': 'b'}}}}}",
            // The same name twice, where neither sees the other.
            "{'mirrored': {'backendA': {'withLabels': {'labels': {'a': 'M'}, 'backend': {'label': 'a'}}}, \
              'backendB': {'withLabels': {'labels': {'a': 'N'}, 'backend': {'label': 'a'}}}, \
              'replicatorAToB': {'local': {}}, 'replicatorBToA': {'local': {}}}}",
            // A label goes before a backend of the host with its name.
            "{'withLabels': {'labels': {'m': {'error': {'code': 14}}}, 'backend': {'label': 'm'}}}",
        ];
        for text in good {
            assert_eq!(faults(text, kind), [""; 0], "{text}");
        }
    }
}

#[test]
fn no_label_leads_to_itself() {
    let sibling = |name: &str, of: &str| {
        format!(
            "withLabels.labels[\"{of}\"].label: \"{name}\" is not declared: labels of one map do not see each other"
        )
    };
    assert_eq!(
        faults("{'withLabels': {'labels': {'a': {'label': 'a'}}, 'backend': {'label': 'a'}}}", Cas),
        [sibling("a", "a")]
    );
    assert_eq!(
        faults("{'withLabels': {'labels': {'a': {'label': 'b'}, 'b': {'label': 'a'}}, 'backend': 'M'}}", Cas),
        [sibling("b", "a"), sibling("a", "b")]
    );
    // One that is declared outside is visible, whatever its siblings are called.
    let shadowing = "{'withLabels': {'labels': {'a': 'M'}, 'backend': {'withLabels': {'labels': {'a': {'label': 'a'}}, 'backend': {'label': 'a'}}}}}";
    assert_eq!(
        faults(shadowing, Cas),
        ["withLabels.backend.withLabels.labels[\"a\"]: the label \"a\" has already been declared"]
    );
}

#[test]
fn a_label_that_is_not_declared_is_refused() {
    assert_eq!(faults("{'label': 'x'}", Cas), ["label: \"x\" is not declared"]);
    assert_eq!(faults("{'label': ''}", Cas), ["label: \"\" is not declared"]);
    assert_eq!(faults("{'withLabels': {}}", Cas), ["withLabels.backend: is required"]);
    let outside = "{'mirrored': {'backendA': {'withLabels': {'labels': {'a': 'M'}, 'backend': {'label': 'a'}}}, \
                   'backendB': {'label': 'a'}, 'replicatorAToB': {'local': {}}, 'replicatorBToA': {'local': {}}}}";
    assert_eq!(faults(outside, Cas), ["mirrored.backendB.label: \"a\" is not declared"]);
}

#[test]
fn labels_of_contents_are_unknown_to_action_results() {
    let text = fill(
        "{'contentAddressableStorage': {'withLabels': {'labels': {'a': 'M'}, 'backend': {'label': 'a'}}}, \
          'actionCache': {'label': 'a'}}",
    );
    let document = Document::from_json(&text, "test.json").unwrap();
    let faults: Option<Faults> = StacksPlan::of_blobstore(&document, &registry()).err();
    assert_eq!(faults.unwrap().to_string(), "test.json:1:125: actionCache.label: \"a\" is not declared");
}

#[tokio::test]
async fn all_uses_of_a_label_are_one_store() {
    let text = "{'withLabels': {'labels': {'a': 'M'}, 'backend': {'readFallback': {'primary': {'label': 'a'}, \
                 'secondary': {'label': 'a'}, 'replicator': {'noop': {}}}}}}";
    let stacks = open(text, Ac).await;
    let (ctx, digest) = (Context::background(), digest_of("an action"));
    stacks.ac().unwrap().put_bytes(&ctx, &digest, "").await.unwrap();
    assert!(stacks.ac().unwrap().contains(&ctx, &digest).await.unwrap());
}
