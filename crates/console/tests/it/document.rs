//! The OpenAPI document against the router, in both directions: paths, parameters and answers.

#![expect(clippy::unwrap_used, reason = "setup of tests: what fails here fails the test")]

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Map, Value};

use crate::small::{get, open, send};

/// Where the routes are named.
const ROUTES: &str = include_str!("../../src/console.rs");

async fn document() -> Value {
    get(&open(), "/api/openapi.json").await.json()
}

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, it)| (path.clone(), method.clone(), it))
    });
    of_path.collect()
}

/// `(path, method)` of every route below `/api` in the source.
fn routed() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for route in ROUTES.split(".route(").skip(1) {
        let path = route.split('"').nth(1).unwrap();
        let handlers = route.split(".route").next().unwrap();
        if !path.starts_with("/api/") || path.contains("{*") {
            continue;
        }
        for method in ["get", "post", "delete", "put", "patch"] {
            if handlers.contains(&format!("{method}(")) {
                found.insert((path.to_owned(), method.to_owned()));
            }
        }
    }
    found
}

#[tokio::test]
async fn every_route_is_documented_and_every_documented_path_is_routed() {
    let document = document().await;
    let documented: BTreeSet<(String, String)> =
        operations(&document).into_iter().map(|(path, method, _)| (path, method)).collect();
    assert_eq!(routed(), documented);
    assert!(documented.len() >= 15, "{documented:?}");
    for (path, method) in documented {
        let known = path.replace("{id}", "p1");
        let request = Request::builder().method(&*method.to_uppercase()).uri(&known);
        let answer = send(&open(), request.body(Body::empty()).unwrap()).await;
        assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        if answer.status == StatusCode::NOT_FOUND {
            assert_ne!(answer.json()["code"], "not_found", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_parameter_is_documented_and_every_documented_one_is_known() {
    let document = document().await;
    for (path, method, operation) in operations(&document) {
        if method != "get" || path == "/api/openapi.json" || path.contains("dead-letters/{id}") {
            continue;
        }
        let named: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let refused =
            get(&open(), &format!("{}?surely_unknown=1", path.replace("{id}", "p1"))).await;
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        let known: BTreeSet<&str> = detail
            .split_once("this path knows ")
            .map(|(_, names)| names.split(", ").collect())
            .unwrap_or_default();
        assert_eq!(named, known, "{path}");
    }
}

/// What a schema says of an object: its properties, and which of them must be there.
fn members<'a>(document: &'a Value, schema: &'a Value) -> (Map<String, Value>, BTreeSet<String>) {
    let schema = resolved(document, schema);
    let (mut properties, mut required) = (Map::new(), BTreeSet::new());
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let (more, needed) = members(document, part);
        properties.extend(more);
        required.extend(needed);
    }
    properties.extend(schema["properties"].as_object().cloned().unwrap_or_default());
    let names = schema["required"].as_array().into_iter().flatten();
    required.extend(names.map(|name| name.as_str().unwrap().to_owned()));
    (properties, required)
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return &document["components"]["schemas"][name];
    }
    // A nullable reference: what it is when it is not null.
    let mut choices = schema["oneOf"].as_array().into_iter().flatten();
    match choices.find(|choice| choice["$ref"].is_string()) {
        Some(choice) => resolved(document, choice),
        None => schema,
    }
}

fn check(document: &Value, schema: &Value, answer: &Value, place: &str) {
    let schema = resolved(document, schema);
    match answer {
        Value::Object(given) => {
            let (properties, required) = members(document, schema);
            // A free object: the fields of a change, or an event.
            if properties.is_empty() {
                return;
            }
            for name in required {
                assert!(given.contains_key(&name), "{place}.{name} is required and missing");
            }
            for (name, value) in given {
                let known = properties.get(name);
                let known = known.unwrap_or_else(|| panic!("{place}.{name} is not documented"));
                check(document, known, value, &format!("{place}.{name}"));
            }
        }
        Value::Array(items) => {
            assert!(schema["items"].is_object(), "{place} is no array");
            for item in items {
                check(document, &schema["items"], item, &format!("{place}[]"));
            }
        }
        Value::Null => assert!(schema["type"] != "string", "{place} is never null"),
        Value::Bool(_) => assert_eq!(schema["type"], "boolean", "{place}"),
        Value::Number(_) | Value::String(_) => {
            let kind = if answer.is_string() { ["string"; 2] } else { ["integer", "number"] };
            let text = schema["type"].to_string();
            let fits = kind.iter().any(|kind| text.contains(kind)) || schema["type"].is_null();
            assert!(fits, "{place}: {answer} is not {text}");
        }
    }
}

#[tokio::test]
async fn every_answer_has_the_documented_shape() {
    let (router, document) = (open(), document().await);
    let letter = get(&router, "/api/v1/dead-letters").await.json()["dead_letters"][0]["id"].clone();
    for (path, _, operation) in
        operations(&document).into_iter().filter(|(_, method, _)| method == "get")
    {
        let id = if path.contains("dead-letters") { letter.as_str().unwrap() } else { "p1" };
        let query = match path.rsplit('/').next().unwrap() {
            "trend" => "?link=l1&compare=previous",
            "analytics" | "links" | "audience" | "report" => "?compare=previous",
            _ => "",
        };
        let answer = get(&router, &format!("{}{query}", path.replace("{id}", id))).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{path}");
        check(&document, schema, &answer.json(), &path);
    }
    let operation = &document["paths"]["/api/v1/profiles/{id}/report"]["get"];
    let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
    let part = get(&router, "/api/v1/profiles/p1/report?metrics=clicks&compare=previous").await;
    check(&document, schema, &part.json(), "a report in part");
    let (_, required) = members(&document, resolved(&document, schema));
    assert!(required.contains("start_date") && !required.contains("views"), "{required:?}");
    let problem = get(&router, "/api/v1/profiles?limit=0").await.json();
    let schema = &document["components"]["schemas"]["Problem"];
    check(&document, schema, &problem, "problem");
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let document = document().await;
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}
