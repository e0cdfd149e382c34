//! The names of rooms in place of their ids, so that tests are easier to read.

use std::collections::HashMap;

use serde_json::{Value, json};

/// The rooms that a client has heard of.
#[derive(Default)]
pub struct KnownRooms {
    ids: HashMap<String, String>,
    names: HashMap<String, String>,
    /// The names that were asked for, by the ids of the requests.
    asked: HashMap<u64, String>,
}

impl KnownRooms {
    /// Replaces the name in the payload of a command by the room's id. No room has the id of a room that is not known.
    pub fn outgoing(&mut self, request: u64, kind: &str, mut payload: Value) -> Value {
        // The place of a search names a room, too.
        if let Some(room) = payload.pointer_mut("/before/room") {
            *room = self.id_of(room.as_str().unwrap_or_default());
        }
        let Some(name) = payload["room"].as_str().map(str::to_owned) else { return payload };
        if kind == "enter_room" && payload.get("name").is_none() {
            payload.as_object_mut().unwrap().remove("room");
            payload["name"] = json!(name);
            self.asked.insert(request, name);
        } else if kind != "enter_room" {
            payload["room"] = self.id_of(&name);
        }
        payload
    }

    fn id_of(&self, name: &str) -> Value {
        self.ids.get(name).map_or(json!("0000000000000000"), |id| json!(id))
    }

    /// The id of a room, for frames that a test writes itself.
    pub fn id(&self, name: &str) -> &str {
        &self.ids[name]
    }

    /// Replaces the ids in a frame by the rooms' names.
    pub fn incoming(&mut self, mut frame: Value) -> Value {
        self.learn(&frame);
        if let (Some(asked), Some(id)) =
            (frame["id"].as_u64().and_then(|id| self.asked.remove(&id)), frame["payload"]["room"].as_str())
        {
            self.ids.insert(asked, id.to_owned());
        }
        self.replace(&mut frame);
        frame
    }

    fn learn(&mut self, value: &Value) {
        if let (Some(id), Some(name)) = (value["room"].as_str(), value["name"].as_str()) {
            self.ids.insert(name.to_owned(), id.to_owned());
            self.names.insert(id.to_owned(), name.to_owned());
        }
        let parts: Vec<&Value> = match value {
            Value::Object(fields) => fields.values().collect(),
            Value::Array(items) => items.iter().collect(),
            _ => Vec::new(),
        };
        parts.into_iter().for_each(|part| self.learn(part));
    }

    fn replace(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => fields.iter_mut().for_each(|(key, part)| match part {
                Value::String(id) if key == "room" => {
                    if let Some(name) = self.names.get(id) {
                        id.clone_from(name);
                    }
                }
                Value::Array(ids) if key == "removed" => {
                    ids.iter_mut().for_each(|id| {
                        if let Some(name) = id.as_str().and_then(|id| self.names.get(id)) {
                            *id = json!(name);
                        }
                    });
                }
                Value::Array(rooms) if key == "rooms" => rooms.iter_mut().for_each(|room| {
                    // It has the name beside.
                    room.as_object_mut().and_then(|room| room.remove("room"));
                }),
                _ => self.replace(part),
            }),
            Value::Array(items) => items.iter_mut().for_each(|item| self.replace(item)),
            _ => {}
        }
    }
}
