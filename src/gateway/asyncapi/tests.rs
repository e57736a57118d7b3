use std::collections::BTreeSet;

use super::*;
use crate::gateway::{openapi::tests::undescribed, protocol::by_event};

fn names(document: &Value, action: &str) -> BTreeSet<String> {
    let operations = document["operations"].as_object().unwrap().values();
    let chosen = operations.filter(|operation| operation["action"] == action);
    chosen.map(|operation| operation["title"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_command_and_every_event_is_in_the_document() {
    let document = document();
    let commands: BTreeSet<String> = COMMANDS.iter().map(|spec| spec.event.to_owned()).collect();
    assert_eq!(names(&document, "receive"), commands, "protocol/described.rs has what is said of commands");
    let events: BTreeSet<String> = events::ALL.iter().map(|event| event.name.to_owned()).collect();
    assert_eq!(names(&document, "send"), events);
    let described: BTreeSet<String> = described::ALL.iter().map(|described| described.event.to_owned()).collect();
    assert_eq!(described, commands, "what is described must be a command");
}

#[test]
fn every_schema_and_field_is_described() {
    let document = document();
    let mut found = Vec::new();
    undescribed(&document, "", &mut found);
    let parts = ["messages", "schemas"].iter().flat_map(|part| document["components"][part].as_object().unwrap());
    let silent = parts.filter(|(_, part)| {
        let says = |name: &str| part[name].as_str().is_some_and(|text| !text.trim().is_empty());
        !says("description") && !says("summary")
    });
    found.extend(silent.map(|(name, _)| name.clone()));
    assert!(found.is_empty(), "{found:#?}");
}

/// Something that fits a schema, with every field or only with those that must be there.
fn example(schema: &Value, schemas: &Schemas, full: bool) -> Value {
    let schema = schemas.resolved(schema);
    if let Some(parts) = schema["allOf"].as_array() {
        let parts = parts.iter().map(|part| example(part, schemas, full));
        return parts.fold(json!({}), |mut all, part| {
            all.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
            all
        });
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[choice].as_array() {
            return example(choices.iter().find(|one| one["type"] != "null").unwrap(), schemas, full);
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        return values[0].clone();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
    match kind {
        "object" => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let fields = schema["properties"].as_object().cloned().unwrap_or_default();
            let wanted = fields.iter().filter(|(name, _)| full || required.contains(&json!(name)));
            wanted.map(|(name, field)| (name.clone(), example(field, schemas, full))).collect::<Map<_, _>>().into()
        }
        "array" => json!([example(&schema["items"], schemas, full)]),
        "boolean" => json!(true),
        "integer" | "number" => json!(1),
        _ if schema["format"] == "date-time" => json!("2026-01-02T03:04:05Z"),
        _ if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("{1,5}x")) => json!("1280x720"),
        _ => json!("text"),
    }
}

#[test]
fn the_data_of_commands_are_read_as_the_document_says() {
    for spec in COMMANDS {
        let event = spec.event;
        let read = |data: &Value| by_event(event).unwrap().read(&data.to_string());
        let mut schemas = Schemas::default();
        let data = (described::of(event).unwrap().data)(&mut schemas);
        let full = example(&data, &schemas, true);
        let read_full = read(&full);
        assert!(read_full.is_ok(), "{event} {full}: {read_full:?}");
        let schema = schemas.resolved(&data);
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for name in required.iter().map(|name| name.as_str().unwrap()) {
            let mut without = full.clone();
            without.as_object_mut().unwrap().remove(name);
            assert!(read(&without).is_err(), "{event} is taken without {name}: {without}");
        }
        if event != "call:quality" {
            let least = example(&data, &schemas, false);
            assert!(read(&least).is_ok(), "{event} {least}");
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let field = schemas.resolved(field);
            // What passes through unread may be anything, but for metadata.
            if field.get("type").is_none() && field.get("oneOf").is_none() && field.get("enum").is_none() {
                continue;
            }
            if field["oneOf"][1]["$ref"].as_str().is_some_and(|path| path.ends_with("Opaque")) {
                continue;
            }
            let mut wrong = full.clone();
            wrong[name] = json!([[7]]);
            assert!(read(&wrong).is_err(), "{event} takes a wrong {name}");
        }
    }
}
