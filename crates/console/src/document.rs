//! The OpenAPI document, made from the types that are answered and the functions that answer.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use serde_json::Value;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, RefOr, Response as Documented, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::fresh::{tag_of, unless_held};
use crate::problem::Problem;
use crate::report::metric_of;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "treehook",
        version = "1",
        description = "What was counted, for programs. Times are RFC 3339 UTC; periods are whole UTC \
            hours, whose days `tz` cuts. An unknown parameter is a 400 that names it. Answers about a \
            period that is over may be kept for 15 minutes, others for seconds; `If-None-Match` with \
            an answer's `ETag` gives 304 while nothing changed."
    ),
    paths(
        crate::profiles::profiles, crate::profiles::milestones, crate::answers::analytics,
        crate::live::live, crate::answers::links, crate::answers::audience, crate::answers::status,
        crate::report::report, crate::history::history, crate::trend::trend,
        crate::dead_letters::list, crate::dead_letters::show, crate::dead_letters::redrive,
        crate::dead_letters::discard, openapi,
    ),
    components(schemas(Problem)),
    security(("bearer" = []), ()),
    modifiers(&Common),
)]
struct Document;

/// What every operation shares.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        if let Some(components) = &mut document.components {
            let mut bearer = Http::new(HttpAuthScheme::Bearer);
            bearer.description = Some(
                "TREEHOOK_API_TOKEN; not needed on a loopback listener without one".to_owned(),
            );
            components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        }
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post, &mut item.delete] {
                let Some(operation) = operation else { continue };
                let problem = RefOr::T(problem());
                operation.responses.responses.insert("default".to_owned(), problem);
            }
        }
    }
}

fn problem() -> Documented {
    let schema = utoipa::openapi::Ref::from_schema_name("Problem");
    ResponseBuilder::new()
        .description(
            "400 `invalid_parameter`, 401 `unauthorized`, 403 `console_closed`, `host_not_allowed` or \
             `cross_origin`, 404 `profile_not_found`, `dead_letter_not_found` or `not_found`, 405 \
             `method_not_allowed`, 409 `redrive_unavailable`, `redrive_refused` or \
             `dead_letter_changed`, 500 `store_unreadable`, 503 `store_unavailable` or \
             `redrive_failed`",
        )
        .content("application/problem+json", ContentBuilder::new().schema(Some(schema)).build())
        .build()
}

/// The document as text, made once.
static TEXT: LazyLock<Bytes> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Document::openapi()).expect("only text is a key");
    let schemas = &mut document["components"]["schemas"];
    schemas["Report"] = in_part(&schemas["Report"], schemas);
    Bytes::from(document.to_string())
});

/// The schema of a report that `metrics` has left something out of: what its types call required is
/// required unless it goes with a metric.
fn in_part(schema: &Value, schemas: &Value) -> Value {
    let named = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    let mut schema = named.map_or(schema, |name| &schemas[name]).clone();
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name.as_str().is_none_or(|name| metric_of(name).is_none()));
    }
    for place in ["/allOf", "/properties/previous/oneOf"] {
        for part in schema.pointer_mut(place).and_then(Value::as_array_mut).into_iter().flatten() {
            *part = in_part(part, schemas);
        }
    }
    schema
}

/// This document
#[utoipa::path(
    get, path = "/api/openapi.json", operation_id = "getOpenapi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
pub(crate) async fn openapi(asked: HeaderMap) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(ETAG, tag_of(&TEXT));
    unless_held(&asked, headers, TEXT.clone())
}
