//! An expression of a configuration, checked with its test vectors.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::jmespath::ast::Ast;
use serde_json::Value;

use super::expression::{Expression, FILES, check_depth, json_of, node_of};
use super::expression_files::{ExpressionFiles, REFRESH_INTERVAL};
use super::syntax::parse;
use crate::background::Background;
use crate::section::Section;
use crate::small_file::read_small_file;

/// An expression of a configuration: a `buildbarn.configuration.jmespath.Expression`.
#[derive(Clone, Debug)]
pub(crate) struct ExpressionPlan {
    text: Arc<str>,
    tree: Arc<Ast>,
    /// The paths of files by their keys.
    paths: BTreeMap<String, String>,
    contents: BTreeMap<String, String>,
}

impl ExpressionPlan {
    /// Reads an expression, and the files that it sees. Test vectors are evaluated.
    ///
    /// `None` if there are faults.
    pub(crate) fn read(section: &Section<'_>) -> Option<Self> {
        let tree = section.required_text("expression").and_then(|text| match parse(text) {
            Ok(tree) => Some((Arc::from(text), Arc::new(tree))),
            Err(fault) => {
                section.fault_at("expression", format!("is no expression of JMESPath: {fault}"));
                None
            }
        });
        let files = read_files(section);
        let vectors = section.messages("test_vectors");
        let vectors: Vec<_> = vectors.iter().map(|vector| (vector, TestVector::read(vector))).collect();
        let ((text, tree), (paths, contents)) = (tree?, files?);
        let plan = Self { text, tree, paths, contents };
        let mut passed = true;
        for (section, vector) in vectors {
            match vector.map(|vector| plan.check(&vector)) {
                Some(Ok(())) => continue,
                Some(Err(failure)) => section.fault(failure),
                None => {}
            }
            passed = false;
        }
        passed.then_some(plan)
    }

    /// Returns the expression. Its files are read again in the background.
    pub(crate) fn build(&self, background: &mut Background) -> Expression {
        let files = (!self.paths.is_empty()).then(|| {
            let files = Arc::new(ExpressionFiles::new(self.paths.clone(), &self.contents));
            let refreshed = Arc::clone(&files);
            background.add_job(REFRESH_INTERVAL, move || refreshed.refresh());
            files
        });
        Expression::new(Arc::clone(&self.text), Arc::clone(&self.tree), files)
    }

    /// Checks that the expression has the expected value. A vector brings the contents of files along.
    fn check(&self, vector: &TestVector) -> Result<(), String> {
        match vector.input.get(FILES).and_then(Value::as_object) {
            None if self.paths.is_empty() => {}
            None => return Err(format!("has no {FILES:?} in its input, though the expression has files")),
            Some(_) if self.paths.is_empty() => {
                return Err(format!("has {FILES:?} in its input, though the expression has none"));
            }
            Some(files) => {
                if let Some(key) = self.paths.keys().find(|key| !files.contains_key(*key)) {
                    return Err(format!("has no contents of the file {key:?} in its input"));
                }
                if let Some(key) = files.keys().find(|key| !self.paths.contains_key(*key)) {
                    return Err(format!(
                        "has contents of a file {key:?} in its input that the expression does not have"
                    ));
                }
            }
        }
        let expression = Expression::new(Arc::clone(&self.text), Arc::clone(&self.tree), None);
        let value = expression.evaluate_over(&node_of(&vector.input));
        let value = value.map_err(|error| format!("cannot be evaluated: {error}"))?;
        if value == node_of(&vector.expected) && !value.is_expref() {
            return Ok(());
        }
        let value = json_of(&value).map_or_else(|error| error, |value| value.to_string());
        Err(format!("failed: expected {}, found {value}", vector.expected))
    }
}

/// An input of an expression, and the value that it is to have.
struct TestVector {
    input: Value,
    expected: Value,
}

impl TestVector {
    fn read(section: &Section<'_>) -> Option<Self> {
        let input = section.json("input").unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let expected = section.json("expected_output");
        if expected.is_none() {
            section.fault_at("expected_output", "is required");
        }
        let expected = expected?;
        for (name, value) in [("input", &input), ("expected_output", &expected)] {
            if let Err(fault) = check_depth(value) {
                section.fault_at(name, fault);
                return None;
            }
        }
        Some(Self { input, expected })
    }
}

/// Reads the files of an expression: their paths and contents, by key. The last of two with the same key counts.
fn read_files(section: &Section<'_>) -> Option<(BTreeMap<String, String>, BTreeMap<String, String>)> {
    let (mut paths, mut contents, mut complete) = (BTreeMap::new(), BTreeMap::new(), true);
    for file in section.messages("files") {
        let (key, path) = (file.text("key"), file.required_text("path"));
        let read = path.map(|path| (path, read_small_file(path)));
        match read {
            Some((path, Ok(text))) => {
                paths.insert(key.to_owned(), path.to_owned());
                contents.insert(key.to_owned(), text);
            }
            Some((_, Err(fault))) => {
                file.fault_at("path", fault);
                complete = false;
            }
            None => complete = false,
        }
    }
    complete.then_some((paths, contents))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use blobaccess_testkit::ManualClock;
    use serde_json::json;

    use super::*;
    use crate::section::section_of;

    fn read(json: &Value) -> (Option<ExpressionPlan>, Vec<String>) {
        let name = "buildbarn.configuration.jmespath.Expression";
        let (plan, end) = section_of(&json.to_string(), name, ExpressionPlan::read);
        assert_eq!(plan.is_some(), end.is_ok(), "{json}: {end:?}");
        (plan, end.err().unwrap_or_default())
    }

    #[test]
    fn faults_of_an_expression_are_told_by_path() {
        let nested = |depth| (0..depth).fold(json!({}), |inner, _| json!({"a": inner}));
        let vector = |input: Value, expected: Value| json!([{"input": input, "expectedOutput": expected}]);
        for (json, faults) in [
            (json!({"expression": "a"}), vec![]),
            (json!({}), vec!["expression: is required"]),
            (json!({"expression": "a b"}), vec!["expression: is no expression of JMESPath: ", "line 1, column 3"]),
            (json!({"expression": "nope(a)"}), vec!["expression: ", "unknown function"]),
            (json!({"expression": "a", "testVectors": vector(json!({"a": 1}), json!(1))}), vec![]),
            (json!({"expression": "a", "testVectors": vector(json!({"a": 1}), json!(1.0))}), vec![]),
            (json!({"expression": "a", "testVectors": vector(json!({}), json!(null))}), vec![]),
            (json!({"expression": "a", "testVectors": [{"expectedOutput": null}]}), vec![]),
            (
                json!({"expression": "a", "testVectors": [{"input": {}}]}),
                vec!["testVectors[0].expectedOutput: is required"],
            ),
            (
                json!({"expression": "a.b", "testVectors": vector(json!({"a": {"b": [1]}}), json!({"c": "d"}))}),
                vec!["testVectors[0]: failed: expected {\"c\":\"d\"}, found [1"],
            ),
            (
                json!({"expression": "length(a)", "testVectors": vector(json!({}), json!(null))}),
                vec!["testVectors[0]: cannot be evaluated: ", "at line 1, column 7"],
            ),
            (
                json!({"expression": "&a", "testVectors": vector(json!({}), json!(null))}),
                vec!["testVectors[0]: failed: "],
            ),
            (
                json!({"expression": "a", "testVectors": vector(json!({"files": {"b": ""}}), json!(null))}),
                vec!["testVectors[0]: has \"files\""],
            ),
            (
                json!({"expression": "a", "testVectors": vector(nested(200), json!(null))}),
                vec!["testVectors[0].input: is nested more than 100 deep"],
            ),
            (json!({"expression": "a", "files": [{"key": "a"}]}), vec!["files[0].path: is required"]),
            (
                json!({"expression": "~", "files": [{"path": "/nonexistent/file"}]}),
                vec!["expression: ", "files[0].path: cannot be read: "],
            ),
        ] {
            let (_, found) = read(&json);
            let found = found.join("\n");
            assert!(found.is_empty() == faults.is_empty(), "{json}: {found}");
            for fault in faults {
                assert!(found.contains(fault), "{json}: {found}");
            }
        }
    }

    #[tokio::test]
    async fn files_are_seen_and_read_again_every_minute() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "first").unwrap();
        let with_files = |files: Value| {
            json!({
                "expression": "join(' ', [files.token, name])",
                "files": [{"key": "token", "path": path.to_str().unwrap()}],
                "testVectors": [{"input": {"files": files, "name": "a"}, "expectedOutput": "secret a"}],
            })
        };
        let (_, faults) = read(&with_files(json!({})));
        assert_eq!(faults, ["testVectors[0]: has no contents of the file \"token\" in its input"]);
        let (_, faults) = read(&with_files(json!(null)));
        assert_eq!(faults, ["testVectors[0]: has no \"files\" in its input, though the expression has files"]);
        let (_, faults) = read(&with_files(json!({"token": "secret", "b": ""})));
        assert!(faults.concat().contains("a file \"b\""), "{faults:?}");

        let clock = Arc::new(ManualClock::new());
        let mut background = Background::new(Arc::<ManualClock>::clone(&clock));
        let (plan, _) = read(&with_files(json!({"token": "secret"})));
        let expression = plan.unwrap().build(&mut background);
        let value = || expression.evaluate_to_json([("name", node_of(&json!("x")))]);
        assert_eq!(value(), Ok(json!("first x")));
        let _running = tokio::spawn(background.run());
        fs::write(&path, "second").unwrap();
        let wait = async |expected: &str| {
            while value() != Ok(json!(expected)) {
                clock.advance(Duration::from_mins(1));
                tokio::task::yield_now().await;
            }
        };
        wait("second x").await;
        fs::remove_file(&path).unwrap();
        for _ in 0..10 {
            clock.advance(Duration::from_mins(1));
            tokio::task::yield_now().await;
            assert_eq!(value(), Ok(json!("second x")), "the last contents stay");
        }
        fs::write(&path, "third").unwrap();
        wait("third x").await;
    }
}
