// The functions of the library that are made of others. `native` has those that are not.
local same(x) = x;
local check(holds, message) = if holds then true else error message;

native {
  local std = self,

  pi:: 3.141592653589793,
  id(x):: x,

  isString(v):: std.type(v) == 'string',
  isNumber(v):: std.type(v) == 'number',
  isBoolean(v):: std.type(v) == 'boolean',
  isObject(v):: std.type(v) == 'object',
  isArray(v):: std.type(v) == 'array',
  isFunction(v):: std.type(v) == 'function',
  isNull(x):: x == null,

  abs(n):: if n < 0 then -n else n,
  sign(n):: if n > 0 then 1 else if n < 0 then -1 else 0,
  max(a, b):: if a > b then a else b,
  min(a, b):: if a < b then a else b,
  clamp(x, minVal, maxVal):: if x < minVal then minVal else if x > maxVal then maxVal else x,
  log2(x):: std.log(x) / std.log(2),
  log10(x):: std.log(x) / std.log(10),
  deg2rad(x):: x * std.pi / 180,
  rad2deg(x):: x * 180 / std.pi,
  mod(a, b):: a % b,

  split(str, c):: std.splitLimit(str, c, -1),
  lines(arr):: std.join('\n', arr + ['']),
  escapeStringPython(str):: std.escapeStringJson(str),
  escapeStringBash(str_):: "'" + std.strReplace(std.toString(str_), "'", "'\"'\"'") + "'",
  escapeStringDollars(str_):: std.strReplace(std.toString(str_), '$', '$$'),
  escapeStringXML(str_)::
    local entities = { '<': '&lt;', '>': '&gt;', '&': '&amp;', '"': '&quot;', "'": '&apos;' };
    std.join('', [std.get(entities, c, c) for c in std.stringChars(std.toString(str_))]),
  resolvePath(f, r):: std.join('/', std.split(f, '/')[:-1] + [r]),

  filterMap(filter_func, map_func, arr):: std.map(map_func, std.filter(filter_func, arr)),
  mapWithKey(func, obj):: { [k]: func(k, obj[k]) for k in std.objectFields(obj) },
  any(arr):: std.foldl(function(found, x) found || check(std.isBoolean(x), 'std.any needs booleans') && x, arr, false),
  all(arr):: std.foldl(function(found, x) found && (check(std.isBoolean(x), 'std.all needs booleans') && x), arr, true),
  sum(arr):: std.foldl(function(a, b) a + b, arr, 0),
  avg(arr):: if arr == [] then error 'std.avg needs at least one element' else std.sum(arr) / std.length(arr),
  contains(arr, elem):: std.member(arr, elem),
  count(arr, x):: std.length([y for y in arr if y == x]),
  find(value, arr):: [i for i in std.range(0, std.length(arr) - 1) if arr[i] == value],
  removeAt(arr, i):: if i < 0 || i >= std.length(arr) then error 'std.removeAt needs the index of an element' else arr[:i] + arr[i + 1:],
  remove(arr, elem):: local found = std.find(elem, arr); if found == [] then arr else std.removeAt(arr, found[0]),
  flattenArrays(arrs):: std.join([], arrs),
  flattenDeepArray(value):: if std.isArray(value) then [y for x in value for y in std.flattenDeepArray(x)] else [value],
  deepJoin(arr):: if std.isArray(arr) then std.join('', [std.deepJoin(x) for x in arr]) else arr,
  sort(arr, keyF=same):: native.sortBy(arr, keyF),
  uniq(arr, keyF=same)::
    local keys = std.map(keyF, arr);
    [arr[i] for i in std.range(0, std.length(arr) - 1) if i == 0 || keys[i] != keys[i - 1]],
  set(arr, keyF=same):: std.uniq(std.sort(arr, keyF), keyF),
  setUnion(a, b, keyF=same):: native.combineSets(a, b, keyF, 'union'),
  setInter(a, b, keyF=same):: native.combineSets(a, b, keyF, 'intersection'),
  setDiff(a, b, keyF=same):: native.combineSets(a, b, keyF, 'difference'),
  setMember(x, arr, keyF=same):: std.setInter([x], arr, keyF) != [],
  minArray(arr, keyF=same, onEmpty=error 'std.minArray needs at least one element')::
    if arr == [] then onEmpty else native.extremeBy(arr, keyF, -1),
  maxArray(arr, keyF=same, onEmpty=error 'std.maxArray needs at least one element')::
    if arr == [] then onEmpty else native.extremeBy(arr, keyF, 1),

  objectFields(o):: std.objectFieldsEx(o, false),
  objectFieldsAll(o):: std.objectFieldsEx(o, true),
  objectHas(o, f):: std.objectHasEx(o, f, false),
  objectHasAll(o, f):: std.objectHasEx(o, f, true),
  objectValues(o):: [o[k] for k in std.objectFields(o)],
  objectValuesAll(o):: [o[k] for k in std.objectFieldsAll(o)],
  objectKeysValues(o):: [{ key: k, value: o[k] } for k in std.objectFields(o)],
  objectKeysValuesAll(o):: [{ key: k, value: o[k] } for k in std.objectFieldsAll(o)],
  get(o, f, default=null, inc_hidden=true):: if std.objectHasEx(o, f, inc_hidden) then o[f] else default,
  mergePatch(target, patch)::
    local below = if std.isObject(target) then target else {};
    local value(k) =
      if !std.objectHas(patch, k) then below[k]
      else std.mergePatch(std.get(below, k, null, false), patch[k]);
    if std.isObject(patch) then {
      [k]: value(k)
      for k in std.setUnion(std.objectFields(below), std.objectFields(patch))
      if !std.objectHas(patch, k) || patch[k] != null
    } else patch,
  prune(a)::
    local isContent(x) = x != null && !((std.isArray(x) || std.isObject(x)) && std.length(x) == 0);
    if std.isArray(a) then [x for x in std.map(std.prune, a) if isContent(x)]
    else if std.isObject(a) then { [k]: std.prune(a[k]) for k in std.objectFields(a) if isContent(std.prune(a[k])) }
    else a,

  assertEqual(a, b):: if a == b then true else error 'Assertion failed. ' + a + ' != ' + b,

  manifestJson(value):: std.manifestJsonEx(value, '    '),
  manifestJsonMinified(value):: std.manifestJsonEx(value, '', '', ':'),
  manifestJsonEx(value, indent, newline='\n', key_val_sep=': '):: native.writeJson(value, indent, newline, key_val_sep),
  manifestYamlDoc(value, indent_array_in_object=false, quote_keys=true)::
    native.writeYaml(value, indent_array_in_object, quote_keys),
  manifestYamlStream(value, indent_array_in_object=false, c_document_end=true, quote_keys=true)::
    local documents = [std.manifestYamlDoc(x, indent_array_in_object, quote_keys) for x in value];
    if !std.isArray(value) then error 'std.manifestYamlStream needs an array'
    else '---\n' + std.join('\n---\n', documents) + (if c_document_end then '\n...\n' else '\n'),
  manifestToml(value):: std.manifestTomlEx(value, '  '),
  manifestTomlEx(value, indent):: native.writeToml(value, indent),
  manifestIni(ini)::
    local line(k, v) = std.toString(k) + ' = ' + v;
    local body(section) = std.flattenArrays([
      if std.isArray(section[k]) then [line(k, v) for v in section[k]] else [line(k, section[k])]
      for k in std.objectFields(section)
    ]);
    local sections = [['[' + name + ']'] + body(ini.sections[name]) for name in std.objectFields(ini.sections)];
    std.lines((if std.objectHas(ini, 'main') then body(ini.main) else []) + std.flattenArrays(sections)),
  manifestPython(v)::
    if std.isObject(v) then
      '{' + std.join(', ', [std.escapeStringPython(k) + ': ' + std.manifestPython(v[k]) for k in std.objectFields(v)]) + '}'
    else if std.isArray(v) then '[' + std.join(', ', [std.manifestPython(x) for x in v]) + ']'
    else if std.isString(v) then std.escapeStringPython(v)
    else if std.isNumber(v) then std.toString(v)
    else if v == null then 'None'
    else if v == true then 'True'
    else if v == false then 'False'
    else error 'a function cannot be rendered',
  manifestPythonVars(conf)::
    std.lines([k + ' = ' + std.manifestPython(conf[k]) for k in std.objectFields(conf)]),
  manifestXmlJsonml(value)::
    local render(v) =
      if std.isString(v) then v
      else
        local hasAttributes = std.length(v) > 1 && std.isObject(v[1]);
        local attributes = if hasAttributes then v[1] else {};
        local children = v[(if hasAttributes then 2 else 1):];
        local text = std.join('', [' ' + k + '="' + attributes[k] + '"' for k in std.objectFields(attributes)]);
        '<' + v[0] + text + '>' + std.join('', [render(x) for x in children]) + '</' + v[0] + '>';
    if std.isArray(value) then render(value) else error 'std.manifestXmlJsonml needs an array',
}
