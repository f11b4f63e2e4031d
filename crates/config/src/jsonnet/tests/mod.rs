//! Tests of the evaluation as a whole.

mod limits;
mod places;
mod random;

use super::*;
use crate::json::JsonKind;

/// Returns JSON on one line, without spaces.
fn write(value: &JsonValue) -> String {
    match &value.kind {
        JsonKind::Null => "null".to_owned(),
        JsonKind::Bool(value) => value.to_string(),
        JsonKind::Number(text) => text.clone(),
        JsonKind::Text(text) => write_text(text),
        JsonKind::List(values) => format!("[{}]", values.iter().map(write).collect::<Vec<_>>().join(",")),
        JsonKind::Object(fields) => {
            let fields = fields.iter().map(|field| format!("{}:{}", write_text(&field.name), write(&field.value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
    }
}

fn write_text(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn evaluate_in(text: &str, environment: &Environment) -> Result<String, String> {
    let value = evaluate(Source::Text { name: "case.jsonnet", text }, environment);
    value.map(|value| write(&value)).map_err(|faults| faults.to_string())
}

fn evaluate_snippet(text: &str) -> Result<String, String> {
    evaluate_in(text, &Environment::default().with_variable("VAR", "value"))
}

/// Makes a folder with files in it.
fn make_folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }
    folder
}

fn evaluate_file(path: &Path) -> Result<JsonValue, Faults> {
    evaluate(Source::File(path), &Environment::default())
}

/// Evaluates `main.jsonnet` of a folder, and returns the message of what is wrong without the folder.
fn fault_in(folder: &tempfile::TempDir) -> String {
    let faults = evaluate_file(&folder.path().join("main.jsonnet")).unwrap_err().to_string();
    faults.replace(&format!("{}/", folder.path().display()), "")
}

/// Each line is a snippet, and the JSON that go-jsonnet 0.22.0 makes of it, or null if it refuses it.
const CASES: &str = include_str!("cases.jsonl");

#[test]
fn snippets_have_the_values_of_go_jsonnet() {
    let mut count = 0;
    for line in CASES.lines() {
        let (snippet, expected): (String, Option<String>) = serde_json::from_str(line).unwrap();
        let found = evaluate_snippet(&snippet);
        assert_eq!(found.as_ref().ok(), expected.as_ref(), "{snippet}: {found:?}");
        count += 1;
    }
    assert!(count > 250, "{count} snippets");
}

#[test]
fn variables_are_strings() {
    let environment =
        Environment::default().with_variable("NUMBER", "5").with_variable("EMPTY", "").with_variable("a.b", "x=y");
    let evaluate = |text| evaluate_in(text, &environment);
    assert_eq!(evaluate("std.extVar('NUMBER') + 1").unwrap(), "\"51\"");
    assert_eq!(evaluate("std.extVar('EMPTY') + std.extVar('a.b')").unwrap(), "\"x=y\"");
    let fault = evaluate("{\n  a: std.extVar('HOME'),\n}").unwrap_err();
    assert_eq!(fault, "case.jsonnet:2:10: a: the external variable HOME is not set in the environment");
}

#[test]
fn the_environment_of_the_process_has_its_variables() {
    let environment = Environment::of_process();
    let path = std::env::var("PATH").unwrap();
    assert_eq!(environment.variable("PATH"), Some(&*path));
    assert_eq!(evaluate_in("std.extVar('PATH')", &environment).unwrap(), write_text(&path));
}

#[test]
fn imports_begin_beside_the_file_that_imports() {
    let folder = make_folder(&[
        (
            "main.jsonnet",
            "{ code: import 'lib/a.libsonnet', text: importstr 'lib/t.txt', bytes: importbin 'lib/t.txt' }",
        ),
        ("lib/a.libsonnet", "local b = import 'b.json'; b { name: std.thisFile }"),
        ("lib/b.json", "{\"x\": 1}"),
        ("lib/t.txt", "hé"),
    ]);
    let value = write(&evaluate_file(&folder.path().join("main.jsonnet")).unwrap());
    let name = write_text(&folder.path().join("lib/a.libsonnet").display().to_string());
    assert_eq!(value, format!("{{\"bytes\":[104,195,169],\"code\":{{\"name\":{name},\"x\":1}},\"text\":\"hé\"}}"));
}

#[test]
fn a_file_has_the_name_that_it_is_given() {
    assert_eq!(evaluate_snippet("std.thisFile").unwrap(), "\"case.jsonnet\"");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = make_folder(&[("main.jsonnet", "{\n  a: import 'missing.libsonnet',\n}"), ("lib/x", "")]);
    let fault = fault_in(&folder);
    let expected = "main.jsonnet:2:6: a: missing.libsonnet cannot be imported: No such file or directory (os error 2)";
    assert_eq!(fault, expected);
    let fault = evaluate_file(&folder.path().join("lib")).unwrap_err().to_string();
    assert!(fault.ends_with("lib cannot be read: it is a directory"), "{fault}");
    let fault = evaluate_file(&folder.path().join("none")).unwrap_err().to_string();
    assert!(fault.ends_with("none cannot be read: No such file or directory (os error 2)"), "{fault}");
}

#[test]
fn an_empty_file_is_a_fault() {
    for text in ["", "\n\n", "// nothing\n", "/* nothing */"] {
        let fault = evaluate_snippet(text).unwrap_err();
        assert!(fault.ends_with(": the file ends where an expression is expected"), "{fault}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_replaced_and_a_byte_order_mark_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("main.jsonnet");
    std::fs::write(&path, b"'a\xffb'").unwrap();
    assert_eq!(write(&evaluate_file(&path).unwrap()), "\"a\u{fffd}b\"");
    assert_eq!(
        evaluate_snippet("\u{feff}{}").unwrap_err(),
        "case.jsonnet:1:1: the character '\\u{feff}' is not expected here"
    );
}

/// Compares all configurations of a folder with what another program renders of them: `BLOBACCESS_JSONNET` is called with
/// the path of a file, and `BLOBACCESS_JSONNET_FILES` names the folder.
#[test]
#[ignore = "needs a program that renders Jsonnet, and configurations"]
fn configurations_are_rendered_as_by_another_program() {
    let (program, folder) = (std::env::var("BLOBACCESS_JSONNET"), std::env::var("BLOBACCESS_JSONNET_FILES"));
    let (program, mut folders) = (program.unwrap(), vec![PathBuf::from(folder.unwrap())]);
    let environment = Environment::of_process();
    let mut rendered = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "jsonnet" || extension == "libsonnet") {
                let output = std::process::Command::new(&program).arg(&path).output().unwrap();
                let ours = evaluate(Source::File(&path), &environment);
                assert_eq!(ours.is_ok(), output.status.success(), "{}: {ours:?}", path.display());
                let Ok(ours) = ours else { continue };
                let theirs: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
                let ours: serde_json::Value = serde_json::from_str(&write(&ours)).unwrap();
                assert_eq!(ours, theirs, "{}", path.display());
                rendered += 1;
            }
        }
    }
    println!("{rendered} configurations are rendered alike");
}
