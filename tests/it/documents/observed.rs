//! Every event that any client of the tests is sent, held against the AsyncAPI document: what it does not say is a fault
//! of the one or the other.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use carillon::gateway::asyncapi;
use serde_json::Value;

/// One kind of event: what its data must have, and what they may have.
#[derive(Default)]
struct Shape {
    required: HashSet<String>,
    known: HashSet<String>,
}

/// By the event's name.
static EVENTS: LazyLock<HashMap<String, Vec<Shape>>> = LazyLock::new(|| {
    let document = asyncapi::document();
    let mut events: HashMap<String, Vec<Shape>> = HashMap::new();
    for operation in document["operations"].as_object().unwrap().values().filter(|one| one["action"] == "send") {
        let path = operation["messages"][0]["$ref"].as_str().unwrap();
        let message = &document["components"]["messages"][path.rsplit('/').next().unwrap()];
        let mut shape = Shape::default();
        collect(&document, &message["payload"]["properties"]["data"], &mut shape);
        events.entry(message["name"].as_str().unwrap().to_owned()).or_default().push(shape);
    }
    events
});

fn collect(document: &Value, schema: &Value, shape: &mut Shape) {
    if let Some(path) = schema["$ref"].as_str() {
        return collect(document, document.pointer(path.trim_start_matches('#')).unwrap(), shape);
    }
    schema["allOf"].as_array().into_iter().flatten().for_each(|part| collect(document, part, shape));
    shape.known.extend(schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys().cloned()));
    let required = schema["required"].as_array().into_iter().flatten();
    shape.required.extend(required.filter_map(|name| Some(name.as_str()?.to_owned())));
}

/// What the document does not say of this event.
pub fn undocumented(event: &str, data: &Value) -> Option<String> {
    let Some(shapes) = EVENTS.get(event) else {
        return Some(format!("the event {event} is not in the AsyncAPI document (src/wire/events.rs)"));
    };
    let fields: HashSet<String> = data.as_object().map(|data| data.keys().cloned().collect()).unwrap_or_default();
    let fits = shapes.iter().any(|shape| shape.required.is_subset(&fields) && fields.is_subset(&shape.known));
    (!fits).then(|| format!("the event {event} has other fields than the AsyncAPI document says: {fields:?}"))
}

#[test]
fn an_event_that_is_not_documented_is_noticed() {
    let data = serde_json::json!({"callId": "c", "seq": 1, "prev": 0, "at": "", "userId": "u"});
    assert_eq!(undocumented("call:held", &data), None);
    assert!(undocumented("call:heldd", &data).is_some());
    let mut more = data.clone();
    more["more"] = 1.into();
    assert!(undocumented("call:held", &more).is_some());
    assert!(undocumented("call:accepted", &data).is_some(), "the device is missing");
}
