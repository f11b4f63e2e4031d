//! Tests of the limits: each ends with a fault, in bounded time and memory.

use super::*;

fn nested(depth: usize, open: &str, inner: &str, close: &str) -> String {
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn the_frames_are_those_of_buildbarn() {
    for (snippet, count, fits) in [
        ("local f(n) = if n == 0 then 0 else 1 + f(n - 1); f(COUNT)", 497, true),
        ("local f(n) = if n == 0 then 0 else 1 + f(n - 1); f(COUNT)", 498, false),
        ("local o(n) = { a: if n == 0 then 0 else o(n - 1) }; o(COUNT)", 497, true),
        ("std.foldl(function(o, i) { a: o }, std.range(1, COUNT), {})", 499, true),
        ("std.foldl(function(o, i) { a: o }, std.range(1, COUNT), {})", 500, false),
        ("local f(n) = if n == 0 then 0 else f(n - 1) tailstrict; f(COUNT)", 10_000, true),
    ] {
        let found = evaluate_snippet(&snippet.replace("COUNT", &count.to_string()));
        assert_eq!(found.is_ok(), fits, "{snippet} {count}: {:.200}", found.unwrap_or_else(|fault| fault));
    }
    for (depth, open, inner, close, fits) in [
        (499, "{a:", "{}", "}", true),
        (500, "{a:", "{}", "}", false),
        (499, "[", "[]", "]", true),
        (500, "[", "[]", "]", false),
        (499, "[", "{}", "]", true),
    ] {
        let found = evaluate_snippet(&nested(depth, open, inner, close));
        assert_eq!(found.is_ok(), fits, "{depth} {open}");
    }
}

#[test]
fn deep_expressions_that_are_not_frames_are_evaluated() {
    assert_eq!(evaluate_snippet(&nested(2900, "(", "1", ")")).unwrap(), "1");
    assert_eq!(evaluate_snippet(&vec!["1"; 5000].join(" + ")).unwrap(), "5000");
    assert_eq!(evaluate_snippet(&nested(2900, "-", "1", "")).unwrap(), "1");
    assert_eq!(evaluate_snippet(&nested(2900, "if true then ", "1", "")).unwrap(), "1");
    assert_eq!(evaluate_snippet(&nested(1400, "1 + (", "1", ")")).unwrap(), "1401");
}

#[test]
fn a_configuration_of_240_nested_read_caches_is_rendered() {
    let open = "{ readCaching: { fast: { label: 'x' }, replicator: { 'local': {} }, slow: ";
    let text = nested(240, open, "{ label: 'x' }", " } }");
    let json = evaluate_snippet(&text).unwrap();
    assert_eq!(json.matches("readCaching").count(), 240);
}

#[test]
fn what_is_nested_too_deep_is_a_fault() {
    for (open, close) in
        [("{a:", "}"), ("[", "]"), ("(", ")"), ("-", ""), ("!", ""), ("if ", ""), ("function(x) ", ""), ("f(", ")")]
    {
        for depth in [3100, 100_000] {
            let fault = evaluate_snippet(&nested(depth, open, "1", close)).unwrap_err();
            assert!(fault.ends_with("more than 3000 expressions lie in each other"), "{open}: {fault:.200}");
        }
    }
    // These are read, and are too deep for the evaluation.
    for (open, close) in [("{a:", "}"), ("[", "]")] {
        let fault = evaluate_snippet(&nested(2900, open, "1", close)).unwrap_err();
        assert!(fault.ends_with("more than 500 frames: values or calls lie too deep in each other"), "{fault:.200}");
    }
}

#[test]
fn what_has_no_end_is_a_fault() {
    let few = EvaluationLimits::default().with_steps(200_000).with_memory(16 << 20);
    let environment = Environment::default().with_limits(few);
    for snippet in [
        "local x = x; x",
        "{ a: self.b, b: self.a }",
        "local f(n) = f(n + 1); f(0)",
        "local f(n) = f(n + 1) tailstrict; f(0)",
        "local a = [a]; a",
        "local a = [a]; std.toString(a)",
        "local a = [a], b = [b]; a == b",
        "local a = [a], b = [b]; a < b",
        "local a = { a: a }; std.manifestJson(a)",
        "local a = { a: a }; std.manifestYamlDoc(a)",
        "local a = { a: a }; std.manifestTomlEx(a, ' ')",
        "local a = { a: [a] }; std.manifestPython(a)",
        "local a = { a: a }; std.prune(a)",
        "{ a: { b: $ } }",
        "std.range(0, 1000000000)",
        "std.range(-9223372036854775807, 9223372036854775807)",
        "std.foldl(function(s, i) s + s, std.range(1, 40), 'x')",
        "std.foldl(function(s, i) s + s, std.range(1, 40), [1])",
        "std.foldl(function(s, i) s + s, std.range(1, 40), { a: 1 })",
        "std.foldl(function(s, i) [s, s], std.range(1, 40), 1)",
        "std.repeat('x', 1000000000000)",
        "std.repeat('', 9007199254740991) + std.repeat('x', 9007199254740991)",
        "std.repeat([1], 1000000000000)",
        "std.makeArray(1000000000000, function(i) i)",
        "[x + y + z for x in std.range(1, 1000) for y in std.range(1, 1000) for z in std.range(1, 1000)]",
        "[1 for x in std.range(1, 10000) for y in std.range(1, 10000) if false]",
        "std.length([1 for x in std.range(1, 1000) for y in std.range(1, 1000) if std.range(1, 1000) == []])",
        "'%1000000000d' % 1",
        "'%*d' % [1000000000, 1]",
        "'%.1000000000f' % 1",
        "std.strReplace(std.repeat('x', 1000000), 'x', std.repeat('y', 1000000))",
        "std.join(std.repeat('x', 1000000), std.repeat(['a'], 1000000))",
        "local s = std.repeat('x', 1000000); [s + i for i in std.range(1, 1000000)]",
        "local s = std.repeat('a', 10000); [std.length(s) for i in std.range(1, 1000000)]",
        "local f(n) = if n == 0 then 0 else f(n - 1) + f(n - 1); f(400)",
        "std.sort(std.range(1, 1000000), function(x) [x])",
        "local big = std.range(1, 1000000); big + big + big",
        "{ ['a' + i]: i for i in std.range(1, 10000000) }",
        "import 'case.jsonnet'",
    ] {
        let fault = evaluate_in(snippet, &environment).unwrap_err();
        let is_limit = ["frames", "steps", "bytes of memory", "depends on itself", "at most", "cannot be imported"];
        assert!(is_limit.iter().any(|part| fault.contains(part)), "{snippet}: {fault:.200}");
    }
}

#[test]
fn files_that_import_each_other_are_a_fault_where_they_need_each_other() {
    let folder = make_folder(&[("main.jsonnet", "import 'main.jsonnet'")]);
    assert_eq!(fault_in(&folder), "main.jsonnet:1:1: the value depends on itself");
    let folder =
        make_folder(&[("main.jsonnet", "(import 'b.jsonnet') + 1"), ("b.jsonnet", "(import 'main.jsonnet') + 1")]);
    assert_eq!(fault_in(&folder), "main.jsonnet:1:2: the value depends on itself");
    let folder = make_folder(&[
        ("main.jsonnet", "{ b: (import 'b.jsonnet').c, d: 1 }"),
        ("b.jsonnet", "{ c: (import 'main.jsonnet').d }"),
    ]);
    assert_eq!(write(&evaluate_file(&folder.path().join("main.jsonnet")).unwrap()), "{\"b\":1,\"d\":1}");
}

#[test]
fn an_endless_file_is_not_imported() {
    let limits = EvaluationLimits::default().with_memory(8 << 20);
    let environment = Environment::default().with_limits(limits);
    let fault = evaluate_in("importbin '/dev/zero'", &environment).unwrap_err();
    assert_eq!(fault, "case.jsonnet:1:1: /dev/zero cannot be imported: it is larger than 8388608 bytes");
}

#[test]
fn limits_can_be_set() {
    let limits = EvaluationLimits::default().with_frames(10).with_steps(1000).with_memory(1 << 20);
    assert_eq!((limits.frames(), limits.steps(), limits.memory()), (10, 1000, 1 << 20));
    assert_eq!(EvaluationLimits::default().with_frames(usize::MAX).frames(), 500);
    let environment = Environment::default().with_limits(limits.clone());
    assert!(evaluate_in("[[[[1]]]]", &environment).is_ok());
    assert!(evaluate_in("[[[[[[[[[[[1]]]]]]]]]]]", &environment).unwrap_err().contains("more than 10 frames"));
    assert!(evaluate_in("std.range(1, 1000)", &environment).unwrap_err().contains("more than 1000 steps"));
    let environment = Environment::default().with_limits(EvaluationLimits::default().with_memory(1 << 20));
    let fault = evaluate_in("std.repeat('x', 1 << 20)", &environment).unwrap_err();
    assert_eq!(fault, "case.jsonnet:1:5: the evaluation takes more than 1048576 bytes of memory");
}
