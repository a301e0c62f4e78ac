//! What a path finds: a value of the document, or one that was made on the way.

use super::moment::Moment;
use crate::types::json::Json;
use std::borrow::Cow;
use std::rc::Rc;

/// An SQL/JSON item.
#[derive(Debug, Clone)]
pub(super) enum Item<'a> {
    Null,
    Bool(bool),
    /// A number, as a numeric prints it.
    Number(Cow<'a, str>),
    String(Cow<'a, str>),
    /// An array or object of the document or the variables.
    Inside(&'a Json),
    /// An object that `.keyvalue()` made.
    Pair(Rc<Pair<'a>>),
    /// A date or time.
    Moment(Moment),
}

/// A member of an object as an object of its own.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub(super) id: i64,
    pub(super) key: Cow<'a, str>,
    pub(super) value: Item<'a>,
}

impl<'a> From<&'a Json> for Item<'a> {
    fn from(value: &'a Json) -> Self {
        match value {
            Json::Null => Item::Null,
            Json::Bool(value) => Item::Bool(*value),
            Json::Number(text) => Item::Number(Cow::Borrowed(text)),
            Json::String(text) => Item::String(Cow::Borrowed(text)),
            nested => Item::Inside(nested),
        }
    }
}

impl<'a> Item<'a> {
    pub(super) fn to_json(&self) -> Json {
        match self {
            Item::Null => Json::Null,
            Item::Bool(value) => Json::Bool(*value),
            Item::Number(text) => Json::Number(text.to_string()),
            Item::String(text) => Json::String(text.to_string()),
            Item::Inside(value) => (*value).clone(),
            Item::Pair(pair) => pair.to_json(),
            Item::Moment(moment) => Json::String(moment.to_string()),
        }
    }

    /// The items of an array.
    pub(super) fn items(&self) -> Option<&'a [Json]> {
        match self {
            Item::Inside(Json::Array(items)) => Some(items),
            _ => None,
        }
    }

    pub(super) fn is_array(&self) -> bool {
        self.items().is_some()
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self, Item::Inside(Json::Object(_)) | Item::Pair(_))
    }

    /// The member of an object.
    pub(super) fn member(&self, name: &str) -> Option<Item<'a>> {
        match self {
            Item::Inside(value) => value.get(name).map(Item::from),
            Item::Pair(pair) => match name {
                "id" => Some(Item::Number(pair.id.to_string().into())),
                "key" => Some(Item::String(pair.key.clone())),
                "value" => Some(pair.value.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// What an array or object holds at a place, with its key.
    pub(super) fn held(&self, place: usize) -> Option<(Cow<'a, str>, Item<'a>)> {
        match self {
            Item::Inside(Json::Array(items)) => items.get(place).map(|item| (Cow::Borrowed(""), Item::from(item))),
            Item::Inside(Json::Object(members)) => {
                members.get(place).map(|(key, value)| (Cow::Borrowed(key.as_str()), Item::from(value)))
            }
            Item::Pair(_) => {
                let key = *["id", "key", "value"].get(place)?;
                Some((Cow::Borrowed(key), self.member(key)?))
            }
            _ => None,
        }
    }

    /// What `.type()` says.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Item::Null => "null",
            Item::Bool(_) => "boolean",
            Item::Number(_) => "number",
            Item::String(_) => "string",
            Item::Inside(Json::Array(_)) => "array",
            Item::Inside(_) | Item::Pair(_) => "object",
            Item::Moment(moment) => moment.type_name(),
        }
    }
}

impl Pair<'_> {
    pub(super) fn to_json(&self) -> Json {
        Json::object(vec![
            ("id".into(), Json::Number(self.id.to_string())),
            ("key".into(), Json::String(self.key.to_string())),
            ("value".into(), self.value.to_json()),
        ])
    }
}
