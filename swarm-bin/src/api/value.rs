//! Reading what a daemon said, and writing what it should look for.

use serde_json::Value;

/// The text at a JSON pointer such as `/Spec/Name`; empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a JSON pointer; 0 if there is none.
pub(crate) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// The list at a JSON pointer (`""` is the value itself); empty if there is none.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A part of a path or query, percent-encoded.
pub(crate) fn encode(part: &str) -> String {
    let mut encoded = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The query `filters=…` for pairs of a key and a value.
pub(crate) fn filters(pairs: &[(&str, &str)]) -> String {
    let mut all = serde_json::Map::new();
    for (key, value) in pairs {
        let values = all.entry(*key).or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(values) = values.as_object_mut() {
            values.insert((*value).to_owned(), Value::Bool(true));
        }
    }
    format!("filters={}", encode(&Value::Object(all).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_reads_as_empty() {
        let value = serde_json::json!({"Spec": {"Name": "web", "Ports": [1, 2]}, "Index": 7});
        assert_eq!((text(&value, "/Spec/Name"), text(&value, "/Spec/Nope")), ("web", ""));
        assert_eq!((number(&value, "/Index"), number(&value, "/Spec")), (7, 0));
        assert_eq!((items(&value, "/Spec/Ports").len(), items(&value, "").len()), (2, 0));
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encode("a/b ü"), "a%2Fb%20%C3%BC");
        assert_eq!(filters(&[("name", "web")]), "filters=%7B%22name%22%3A%7B%22web%22%3Atrue%7D%7D");
    }
}
