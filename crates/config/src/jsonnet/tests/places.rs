//! Tests of the places of fields and faults.

use super::*;

/// Returns each field and element with its place, without the name of the file if it is the main one.
fn places(value: &JsonValue) -> Vec<String> {
    fn visit(value: &JsonValue, path: &str, places: &mut Vec<String>) {
        match &value.kind {
            JsonKind::Object(fields) => {
                for field in fields {
                    let path = format!("{path}.{}", field.name);
                    places.push(format!("{path} {}", field.position.as_ref().unwrap()));
                    visit(&field.value, &path, places);
                }
            }
            JsonKind::List(values) => {
                for (index, value) in values.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    places.push(format!("{path} {}", value.position.as_ref().unwrap()));
                    visit(value, &path, places);
                }
            }
            _ => {}
        }
    }
    let mut places = Vec::new();
    visit(value, "", &mut places);
    places.into_iter().map(|place| place.replace("case.jsonnet:", "")).collect()
}

fn places_in(text: &str) -> Vec<String> {
    places(&evaluate(Source::Text { name: "case.jsonnet", text }, &Environment::default()).unwrap())
}

#[test]
fn a_field_is_where_its_name_is() {
    let text = "{\n  a: 1,\n  b: {\n    'c d': [\n      1,\n      { e: 2 },\n    ],\n  },\n}";
    let expected = [".a 2:3", ".b 3:3", ".b.c d 4:5", ".b.c d[0] 5:7", ".b.c d[1] 6:7", ".b.c d[1].e 6:9"];
    assert_eq!(places_in(text), expected);
}

#[test]
fn a_field_is_where_the_object_on_top_has_it() {
    let text = "local base = {\n  a: 1,\n  b: { c: 1, d: 1 },\n};\nbase {\n  a: 2,\n  b+: { d: 2 },\n}";
    assert_eq!(places_in(text), [".a 6:3", ".b 7:3", ".b.c 3:8", ".b.d 7:9"]);
}

#[test]
fn a_field_of_a_function_or_a_comprehension_is_in_its_body() {
    assert_eq!(places_in("{\n  [k]: 1\n  for k in ['c']\n}"), [".c 2:3"]);
    let text = "local make(x) =\n  { address: x };\n{\n  a: make('x'),\n  b: [make(i)\n      for i in [1]],\n}";
    assert_eq!(places_in(text), [".a 4:3", ".a.address 2:5", ".b 5:3", ".b[0] 2:3", ".b[0].address 2:5"]);
}

#[test]
fn a_field_that_the_library_made_is_where_its_parts_are() {
    let text = "{\n  a: std.map(function(x) x + 1, [\n    1,\n  ]),\n  b: std.mergePatch({ c: 1 }, { d: 2 }),\n}";
    assert_eq!(places_in(text), [".a 2:3", ".a[0] 3:5", ".b 5:3", ".b.c 5:10", ".b.d 5:10"]);
}

#[test]
fn a_field_of_an_imported_file_is_in_that_file() {
    let folder = make_folder(&[
        ("main.jsonnet", "local common = import 'common.libsonnet';\n{\n  grpc: common.client('x'),\n}"),
        ("common.libsonnet", "{\n  client(address): {\n    address: address,\n  },\n}"),
    ]);
    let value = evaluate_file(&folder.path().join("main.jsonnet")).unwrap();
    let places: Vec<_> =
        places(&value).iter().map(|place| place.replace(&format!("{}/", folder.path().display()), "")).collect();
    assert_eq!(places, [".grpc main.jsonnet:3:3", ".grpc.address common.libsonnet:3:5"]);
}

#[test]
fn a_fault_is_where_it_arises_and_says_where_that_was_asked_for() {
    let folder = make_folder(&[
        ("main.jsonnet", "local common = import 'common.libsonnet';\n{\n  grpc: [common.client(null)],\n}"),
        ("common.libsonnet", "{\n  client(address): {\n    address: 'grpc://' + address.host,\n  },\n}"),
    ]);
    let fault =
        "common.libsonnet:3:34: grpc[0].address: only objects, arrays and strings have parts, not a value of type null";
    assert_eq!(fault_in(&folder), fault);
    let folder = make_folder(&[
        ("main.jsonnet", "local common = import 'common.libsonnet';\n{\n  grpc: common.check(1),\n}"),
        ("common.libsonnet", "{\n  check(x): if x > 0 then error 'too large' else x,\n}"),
    ]);
    assert_eq!(fault_in(&folder), "common.libsonnet:2:27: grpc: too large (from main.jsonnet:3:16)");
}

#[test]
fn a_fault_in_the_library_is_where_the_library_was_called() {
    let fault = evaluate_snippet("{\n  a: std.map(\n    1, []),\n}").unwrap_err();
    assert_eq!(fault, "case.jsonnet:2:10: a: a function is needed, not a value of type number");
    let fault = evaluate_snippet("{\n  a:\n    std.setUnion([1], ['a']),\n}").unwrap_err();
    assert_eq!(fault, "case.jsonnet:3:9: a: values of the types number and string have no order");
    let fault = evaluate_snippet("{\n  'a b': std.all([1]),\n}").unwrap_err();
    assert_eq!(fault, "case.jsonnet:2:14: [\"a b\"]: std.all needs booleans");
}

#[test]
fn a_mistake_of_the_grammar_has_a_place() {
    for (text, fault) in [
        ("{\n  a 1,\n}", "2:5: 1 is found where : is expected"),
        ("{\n  a: 1\n  b: 2,\n}", "3:3: b is found where , or } is expected"),
        ("{\n  local: {},\n}", "2:8: : is found where a name is expected"),
        ("{\n  error: {},\n}", "2:3: error is found where a field is expected; quote it if it is one"),
        ("{ a: 'x }", "1:6: a text is not closed"),
        ("{ a: /* x }", "1:6: a comment is not closed with */"),
        ("[1, 2", "1:6: the file ends where , or ] is expected"),
        ("{ a: 1 + }", "1:10: } is found where an expression is expected"),
        ("{ a: nope }", "1:6: the variable nope is not known"),
        ("local a = 1, a = 2; a", "1:14: the variable a is given twice"),
        ("function(x, x) 1", "1:13: the parameter x is given twice"),
        ("std.map(func=1, 2)", "1:17: an argument without a name follows one with a name"),
        ("{ a: 1, for x in [] }", "1:9: an object with \"for\" must have a computed name: [NAME]"),
        ("1e400", "1:1: the number is too large"),
        ("a = 1", "1:3: = is found where an operator with two operands is expected"),
        ("'\\x'", "1:2: \\x is not known in a text"),
        ("%", "1:1: % is found where an expression is expected"),
    ] {
        let found = evaluate_snippet(text).unwrap_err();
        assert_eq!(found, format!("case.jsonnet:{fault}"));
    }
}
