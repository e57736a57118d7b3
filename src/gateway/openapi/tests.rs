use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use actix_web::{
    App,
    dev::Service,
    http::Method,
    test::{TestRequest, call_service, init_service},
};

use super::*;
use crate::{
    gateway::{protocol::described, rest},
    wire::ErrorCode,
};

const METHODS: [&str; 6] = ["get", "head", "put", "post", "patch", "delete"];
/// The one scope there is.
const SCOPE: &str = "/api/v1";
/// Stands for one route per command: the document has them one by one.
const ACTIONS: &str = "/api/v1/calls/{callId}/{action}";

/// Every method and path of a document.
fn documented(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (method.clone(), path.clone())));
    operations.collect()
}

/// The path with something in place of each of its parts that vary.
fn sample(pattern: &str) -> String {
    let parts = pattern.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// The patterns of actix's own map of routes, as it shows itself: there is no other way to list them.
fn patterns(map: &str) -> Vec<(String, bool)> {
    let one = |text: &str| {
        let pattern = text.split('"').nth(1)?.to_owned();
        Some((pattern, text.split("is_prefix: ").nth(1)?.starts_with("true")))
    };
    map.split("patterns: ").skip(1).filter_map(one).collect()
}

/// Every method and path that the routes have. No handler gets far: none of what they need is there.
async fn routed() -> BTreeSet<(String, String)> {
    let map = Rc::new(RefCell::new(String::new()));
    let seen = map.clone();
    let app = App::new().configure(rest::routes).wrap_fn(move |request, service| {
        *seen.borrow_mut() = format!("{:?}", request.resource_map());
        service.call(request)
    });
    let app = init_service(app).await;
    // The pattern of the route that takes it; none if there is none.
    let probe = async |method: &str, path: &str| {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let answer = call_service(&app, TestRequest::default().method(method).uri(&sample(path)).to_request()).await;
        let taken = !matches!(answer.status().as_u16(), 404 | 405);
        answer.request().match_pattern().filter(|_| taken)
    };
    assert!(probe("get", "/livez").await.is_some());
    let shown = map.borrow().clone();
    let mut found = BTreeSet::new();
    for (pattern, is_prefix) in patterns(&shown) {
        if is_prefix {
            assert!(pattern.is_empty() || pattern == SCOPE, "a scope that this test does not know: {pattern}");
            continue;
        }
        for path in [pattern.clone(), format!("{SCOPE}{pattern}")] {
            for method in METHODS {
                if path != ACTIONS && probe(method, &path).await.as_ref() == Some(&path) {
                    found.insert((method.to_owned(), path.clone()));
                }
            }
        }
    }
    for action in super::super::protocol::COMMANDS.iter().filter_map(|spec| spec.action) {
        let path = ACTIONS.replace("{action}", action);
        assert!(probe("post", &path).await.is_some(), "{path}");
        found.insert(("post".to_owned(), path));
    }
    assert!(found.len() > 20, "{shown}");
    found
}

#[actix_web::test]
async fn every_route_is_in_the_document_and_every_operation_of_it_has_a_route() {
    let (routed, documented) = (routed().await, documented(&document()));
    let missing: Vec<_> = routed.difference(&documented).collect();
    assert!(missing.is_empty(), "not documented (docs/architecture.md, \"Adding a route\"): {missing:?}");
    let gone: Vec<_> = documented.difference(&routed).collect();
    assert!(gone.is_empty(), "documented, but there is no such route: {gone:?}");
}

/// Complains about every schema, parameter and field below `value` that nothing is said of.
pub fn undescribed(value: &Value, place: &str, found: &mut Vec<String>) {
    let says = |value: &Value| value["description"].as_str().is_some_and(|text| !text.trim().is_empty());
    match value {
        Value::Object(fields) => {
            if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
                // What narrows a field that is described elsewhere has neither type nor reference.
                let whole = |field: &Value| {
                    ["type", "$ref", "oneOf", "anyOf", "allOf"].iter().any(|key| field.get(key).is_some())
                };
                let silent = properties.iter().filter(|(_, field)| whole(field) && !says(field));
                // A frame's data are described where they are referred to.
                found.extend(silent.filter(|(name, _)| *name != "data").map(|(name, _)| format!("{place}.{name}")));
            }
            for parameter in fields.get("parameters").and_then(Value::as_array).into_iter().flatten() {
                if !says(parameter) {
                    found.push(format!("{place}: parameter {}", parameter["name"]));
                }
            }
            fields.iter().for_each(|(name, value)| undescribed(value, &format!("{place}/{name}"), found));
        }
        Value::Array(values) => values.iter().for_each(|value| undescribed(value, place, found)),
        _ => {}
    }
}

#[test]
fn every_schema_field_and_parameter_is_described() {
    let document = document();
    let mut found = Vec::new();
    undescribed(&document, "", &mut found);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let silent = schemas.iter().filter(|(_, schema)| schema["description"].as_str().is_none_or(str::is_empty));
    found.extend(silent.map(|(name, _)| name.clone()));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_operation_is_named_once_and_links_lead_somewhere() {
    let document = document();
    let operations: Vec<&Value> =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values()).collect();
    let ids: BTreeSet<&str> = operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len());
    for operation in &operations {
        for reply in operation["responses"].as_object().unwrap().values() {
            assert!(!reply["description"].as_str().unwrap().is_empty(), "{}", operation["operationId"]);
            for link in reply["links"].as_object().into_iter().flat_map(Map::values) {
                assert!(ids.contains(link["operationId"].as_str().unwrap()), "{link}");
            }
        }
    }
}

#[test]
fn no_two_types_have_one_name() {
    let mut schemas = Schemas::default();
    for operation in operations(&mut schemas) {
        operation.finish(&mut schemas);
    }
    assert!(schemas.clashes().is_empty(), "{:?}", schemas.clashes());
}

#[test]
fn every_error_code_has_a_cause_and_the_protocol_says_the_same() {
    let protocol = include_str!("../../../docs/protocol.md");
    for code in ErrorCode::ALL {
        assert!(!code.cause().trim().is_empty(), "{code:?}");
        let row = format!("| `{}` | {} | {} |", code.as_str(), code.http_status(), code.cause());
        assert!(protocol.contains(&row), "docs/protocol.md, Errors: {row}");
    }
}

#[test]
fn every_command_that_may_be_asked_for_is_described() {
    for spec in super::super::protocol::COMMANDS {
        assert!(described::of(spec.event).is_some(), "protocol/described.rs has nothing of {}", spec.event);
    }
}

#[test]
fn a_resource_says_which_methods_it_has() {
    for (path, methods) in [
        ("/api/v1/calls", Some("GET, POST")),
        ("/api/v1/calls/active", Some("GET")),
        ("/api/v1/calls/c/accept", Some("POST")),
        ("/api/v1/calls/c/quality", Some("GET, POST")),
        ("/api/v1/groups/g", Some("DELETE, GET, PUT")),
        ("/api/v1/nothing", None),
    ] {
        assert_eq!(allowed(path).as_deref(), methods, "{path}");
    }
}
