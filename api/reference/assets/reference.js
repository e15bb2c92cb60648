// The API's reference from /openapi.json: every operation with its parameters, bodies, answers, and a form to try it.
"use strict";

const METHODS = ["get", "post", "put", "delete"];
let api;

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((each) => each !== null && each !== undefined));
  return made;
}

function resolved(schema, depth = 0) {
  if (!schema || depth > 8) return {};
  if (schema.$ref) return resolved(schema.$ref.slice(2).split("/").reduce((at, part) => at[part], api), depth + 1);
  const options = (schema.anyOf || []).filter((each) => each.type !== "null");
  return options.length === 1 ? { ...resolved(options[0], depth + 1), description: schema.description } : schema;
}

function kind(schema) {
  const found = resolved(schema);
  if (found.enum) return found.enum.join(" | ");
  if (found.const !== undefined) return String(found.const);
  if (found.type === "array") return `list of ${kind(found.items)}`;
  return found.format || found.type || "any";
}

// A value such as the schema describes, of its examples where it has some.
function sample(schema, depth = 0) {
  const found = resolved(schema);
  if (found.examples && found.examples.length && typeof found.examples[0] !== "undefined") return found.examples[0];
  if (found.default !== undefined) return found.default;
  if (found.enum) return found.enum[0];
  if (depth > 5) return null;
  if (found.type === "object" || found.properties)
    return Object.fromEntries(Object.entries(found.properties || {}).map(([name, each]) => [name, sample(each, depth + 1)]));
  if (found.type === "array") return [sample(found.items, depth + 1)];
  return { string: found.format === "date-time" ? "2026-01-31T12:00:00Z" : "…", integer: 1, number: 0.5, boolean: false }[found.type] ?? null;
}

function fields(schema, title) {
  const found = resolved(schema);
  const rows = Object.entries(found.properties || {}).map(([name, each]) =>
    make("tr", {},
      make("td", {}, make("code", { textContent: name + ((found.required || []).includes(name) ? " *" : "") })),
      make("td", { textContent: kind(each) }),
      make("td", { textContent: each.description || "" })));
  return rows.length ? make("div", {}, make("h4", { textContent: title }), make("table", {}, ...rows)) : null;
}

function parametersOf(operation) {
  const rows = (operation.parameters || []).map((each) =>
    make("tr", {},
      make("td", {}, make("code", { textContent: each.name + (each.required ? " *" : "") })),
      make("td", { textContent: each.in }),
      make("td", { textContent: kind(each.schema) + (each.schema.default !== undefined ? `, default ${each.schema.default}` : "") }),
      make("td", { textContent: each.description || each.schema.description || "" })));
  return rows.length ? make("div", {}, make("h4", { textContent: "Parameters" }), make("table", {}, ...rows)) : null;
}

function curl(method, path, media, example) {
  const lines = [`curl -X ${method.toUpperCase()} "$URL${path}" -H "Authorization: Bearer $KEY"`];
  if (media === "application/octet-stream") lines.push("--data-binary @leads.csv");
  else if (media) lines.push(`-H "Content-Type: ${media}"`, `-d '${String(example).replaceAll("'", "'\\''")}'`);
  return lines.join(" \\\n  ");
}

function tryForm(method, path, operation, media, example) {
  const inputs = (operation.parameters || []).map((each) => [each, make("input", { placeholder: each.required ? "needed" : "" })]);
  const body = media ? make("textarea", { value: example, spellcheck: false }) : null;
  const shown = make("pre", { className: "hidden" });
  const send = make("button", { type: "button", textContent: `Send ${method.toUpperCase()}` });
  send.addEventListener("click", async () => {
    const headers = { Accept: "application/json" }, query = new URLSearchParams();
    const key = document.getElementById("key").value.trim();
    if (key) headers.Authorization = `Bearer ${key}`;
    let target = path;
    for (const [each, input] of inputs) {
      if (each.in === "path") target = target.replace(`{${each.name}}`, encodeURIComponent(input.value || "-"));
      else if (input.value && each.in === "query") query.append(each.name, input.value);
      else if (input.value && each.in === "header") headers[each.name] = input.value;
    }
    if (body) headers["Content-Type"] = media;
    shown.className = "";
    shown.textContent = "…";
    try {
      const answer = await fetch(target + (query.size ? `?${query}` : ""), { method: method.toUpperCase(), headers, body: body ? body.value : undefined });
      const text = await answer.text();
      let pretty = text;
      try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is shown as it came */ }
      shown.textContent = `${answer.status} ${answer.statusText}\n\n${pretty}`;
    } catch (error) {
      shown.textContent = String(error);
    }
  });
  return make("div", { className: "try" }, make("h4", { textContent: "Try it" }),
    ...inputs.map(([each, input]) => make("label", {}, make("code", { textContent: each.name }), input)), body, send, shown);
}

function fill(place, path, method, operation) {
  const content = (operation.requestBody || {}).content || {};
  const media = Object.keys(content)[0];
  const example = media ? (content[media].example ?? sample(content[media].schema)) : null;
  const text = typeof example === "string" ? example : JSON.stringify(example, null, 2);
  place.append(
    make("p", { className: "told", textContent: operation.description || "" }),
    ...[parametersOf(operation), media ? fields(content[media].schema, `Body (${Object.keys(content).join(", ")})`) : null].filter(Boolean),
    make("pre", { textContent: curl(method, path, media, text) }));
  for (const [status, answer] of Object.entries(operation.responses)) {
    const schema = answer.content && answer.content["application/json"] && answer.content["application/json"].schema;
    if (status === "default" || !schema) continue;
    place.append(make("h4", { textContent: `${status} ${answer.description || ""}` }),
      make("pre", { textContent: JSON.stringify(sample(schema), null, 2) }));
  }
  const isEndless = path === "/v2/events";
  if (!content["application/octet-stream"] && !isEndless) place.append(tryForm(method, path, operation, media, text));
}

function operationOf(path, method, operation) {
  const inside = make("div");
  const shown = make("details", { className: "operation", id: operation.operationId },
    make("summary", {}, make("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
      make("code", { textContent: path }), make("span", { textContent: (operation.description || operation.summary || "").split(/(?<=\.)\s/)[0].replaceAll("`", "") })), inside);
  shown.dataset.words = `${method} ${path} ${operation.summary} ${operation.description}`.toLowerCase();
  shown.addEventListener("toggle", () => { if (shown.open && !inside.childElementCount) fill(inside, path, method, operation); });
  return shown;
}

function codes(text) {
  const rows = text.split("\n").filter((line) => line.startsWith("| `")).map((line) => line.split("|").slice(1, 4).map((cell) => cell.trim().replaceAll("`", "")));
  return make("table", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", { textContent: cell })))));
}

async function main() {
  api = await (await fetch("/openapi.json")).json();
  const place = document.getElementById("main"), groups = new Map();
  for (const [path, operations] of Object.entries(api.paths))
    for (const method of METHODS.filter((each) => operations[each])) {
      const tag = (operations[method].tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operationOf(path, method, operations[method]));
    }
  place.replaceChildren(make("p", { className: "told", textContent: api.info.description.split("\n\n|")[0].replaceAll("`", "") }),
    ...[...groups].flatMap(([tag, found]) => [make("h2", { textContent: tag }), ...found]),
    make("h2", { textContent: "Error codes" }), codes(api.info.description));
  document.getElementById("find").addEventListener("input", (event) => {
    for (const each of document.querySelectorAll("details.operation"))
      each.classList.toggle("hidden", !each.dataset.words.includes(event.target.value.trim().toLowerCase()));
  });
  const named = location.hash && document.getElementById(location.hash.slice(1));
  if (named) { named.open = true; named.scrollIntoView(); }
}

main().catch((error) => { document.getElementById("main").textContent = `The reference cannot be shown: ${error}`; });
