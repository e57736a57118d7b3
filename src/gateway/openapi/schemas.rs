//! The schemas of a document, collected from the types that requests are read into and answers are written from.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

/// `components.schemas` in the making.
#[derive(Default)]
pub struct Schemas {
    found: BTreeMap<String, Value>,
    /// Those that are read: their optional fields may be null.
    read: BTreeSet<String>,
    /// Names that two different types have.
    clashes: Vec<String>,
}

/// How a document comes to a schema; [`Schemas::sent`] or [`Schemas::read`] of a type.
pub type SchemaOf = fn(&mut Schemas) -> Value;

impl Schemas {
    /// A reference to what the server sends. An optional field is there or not; it is never null.
    pub fn sent<T: ToSchema>(&mut self) -> Value {
        let mut found = Vec::new();
        T::schemas(&mut found);
        found.push((T::name().into_owned(), T::schema()));
        self.add(found);
        reference(&T::name())
    }

    /// A reference to what the server reads. An optional field may be missing or null.
    pub fn read<T: ToSchema>(&mut self) -> Value {
        let mut found = Vec::new();
        T::schemas(&mut found);
        self.read.extend(found.iter().map(|(name, _)| name.clone()).chain([T::name().into_owned()]));
        self.sent::<T>()
    }

    /// No fields.
    pub fn nothing(&mut self) -> Value {
        json!({"type": "object", "description": "No fields."})
    }

    /// Takes in schemas that types have collected.
    pub fn add(&mut self, found: Vec<(String, RefOr<Schema>)>) {
        for (name, schema) in found {
            let mut schema = serde_json::to_value(schema).unwrap_or_default();
            tidy(&mut schema);
            self.put(name, schema);
        }
    }

    /// One more schema; a reference to it.
    pub fn put(&mut self, name: String, schema: Value) -> Value {
        let refers = reference(&name);
        if self.found.get(&name).is_some_and(|known| *known != schema) {
            self.clashes.push(name.clone());
        }
        self.found.insert(name, schema);
        refers
    }

    /// The data of a command without the call, which stands in the path of a request, and with the device that acts.
    pub fn body_of(&mut self, data: SchemaOf) -> Value {
        let refers = data(self);
        let mut body = self.resolved(&refers);
        if let Some(described) = body.as_object_mut() {
            described.remove("description");
        }
        without_call(&mut body);
        self.with_device(&mut body);
        body
    }

    fn with_device(&mut self, body: &mut Value) {
        let device = self.read::<crate::domain::DeviceId>();
        let optional = json!({
            "oneOf": [{"type": "null"}, device],
            "description": "The device that acts; without it the device `rest`, the same for all requests of a user.",
        });
        // Of alternatives each has it.
        for list in ["oneOf", "anyOf"] {
            if let Some(several) = body.get_mut(list).and_then(Value::as_array_mut) {
                several.iter_mut().for_each(|one| {
                    if one.get("allOf").is_none() {
                        one["properties"]["deviceId"] = optional.clone();
                    } else if let Some(parts) = one.get_mut("allOf").and_then(Value::as_array_mut) {
                        parts.push(json!({"type": "object", "properties": {"deviceId": optional.clone()}}));
                    }
                });
                return;
            }
        }
        body["properties"]["deviceId"] = optional;
    }

    /// What a reference refers to, for who wants to look into it.
    pub fn resolved(&self, schema: &Value) -> Value {
        let named = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
        named.and_then(|name| self.found.get(name)).unwrap_or(schema).clone()
    }

    /// Names that two different types have: one of the two is not in the document.
    pub fn clashes(&self) -> &[String] {
        &self.clashes
    }

    /// The finished schemas.
    pub fn finish(self) -> Map<String, Value> {
        let Self { found, read, .. } = self;
        let finished = |(name, mut schema): (String, Value)| {
            if !read.contains(&name) {
                never_null(&mut schema);
            }
            (name, schema)
        };
        found.into_iter().map(finished).collect()
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn without_call(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove("callId");
    }
    if let Some(required) = fields.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "callId");
        if required.is_empty() {
            fields.remove("required");
        }
    }
    for list in ["oneOf", "anyOf", "allOf"] {
        fields.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().for_each(without_call);
    }
}

/// What is said of an optional field stands with what it refers to: it belongs to the field. And what may be anything may
/// be null anyhow.
fn tidy(schema: &mut Value) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for field in properties.values_mut() {
        let Some([plain, null]) = field["oneOf"].as_array().map(Vec::as_slice) else { continue };
        if null["type"] != "null" {
            continue;
        }
        let mut plain = plain.clone();
        let says = plain.as_object_mut().and_then(|plain| plain.remove("description"));
        let is_anything = plain["$ref"].as_str().is_some_and(|path| path.ends_with("/Opaque"));
        *field = if is_anything { plain } else { json!({"oneOf": [{"type": "null"}, plain]}) };
        field["description"] = says.unwrap_or_default();
    }
}

/// Takes the null from fields that need not be there.
fn never_null(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (_, field) in properties.iter_mut().filter(|(name, _)| !required.contains(&json!(name))) {
        let Some(parts) = field.as_object_mut() else { continue };
        if let Some(types) = parts.get_mut("type").and_then(Value::as_array_mut) {
            types.retain(|kind| kind != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                parts.insert("type".to_owned(), only);
            }
        }
        let plain = parts.get("oneOf").and_then(Value::as_array).and_then(|choices| match choices.as_slice() {
            [null, plain] if null["type"] == "null" => plain.as_object().cloned(),
            _ => None,
        });
        if let Some(plain) = plain {
            parts.remove("oneOf");
            parts.extend(plain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something with fields of each kind.
    #[derive(ToSchema)]
    #[schema(rename_all = "camelCase")]
    #[expect(dead_code, reason = "for its schema")]
    struct Sample {
        call_id: crate::domain::CallId,
        plain: Option<String>,
        named: Option<crate::domain::UserId>,
        #[schema(required = true)]
        unknown: Option<f64>,
    }

    #[test]
    fn an_optional_field_is_null_where_it_is_read_but_not_where_it_is_sent() {
        let mut schemas = Schemas::default();
        let sent = schemas.sent::<Sample>();
        assert_eq!(sent["$ref"], "#/components/schemas/Sample");
        let sent = schemas.finish()["Sample"].clone();
        assert_eq!(sent["properties"]["plain"]["type"], "string");
        assert_eq!(sent["properties"]["named"]["$ref"], "#/components/schemas/UserId");
        assert_eq!(sent["properties"]["unknown"]["type"], json!(["number", "null"]));
        let mut schemas = Schemas::default();
        schemas.read::<Sample>();
        let read = schemas.finish();
        assert_eq!(read["Sample"]["properties"]["plain"]["type"], json!(["string", "null"]));
        assert!(read.contains_key("UserId"));
    }

    #[test]
    fn the_body_of_a_request_is_the_data_of_its_command_without_the_call() {
        let mut schemas = Schemas::default();
        let body = schemas.body_of(Schemas::read::<Sample>);
        assert!(body["properties"]["callId"].is_null() && body["properties"]["deviceId"].is_object());
        assert_eq!(body["required"], json!(["unknown"]));
    }

    #[test]
    fn two_types_of_one_name_are_noticed() {
        let mut schemas = Schemas::default();
        schemas.put("A".into(), json!({"type": "object"}));
        schemas.put("A".into(), json!({"type": "object"}));
        assert!(schemas.clashes().is_empty());
        schemas.put("A".into(), json!({"type": "string"}));
        assert_eq!(schemas.clashes(), ["A"]);
    }
}
