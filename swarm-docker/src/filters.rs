//! The query parameter `filters`: which objects of a list are wanted.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::error::ApiError;

/// Values by key. The values of one key are alternatives (labels must all be there), all keys must hold.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Filters(BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// Reads `{"name":{"web":true}}` and the older `{"name":["web"]}`.
    pub(crate) fn parse(text: &str, known: &[&str]) -> Result<Self, ApiError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let wire: BTreeMap<String, Option<Values>> = serde_json::from_str(text)
            .map_err(|_| ApiError::bad_request(format!("invalid filter: {}", cut(text))))?;
        let mut filters = BTreeMap::new();
        for (key, values) in wire {
            if !known.contains(&key.as_str()) {
                return Err(ApiError::bad_request(format!("invalid filter '{}'", cut(&key))));
            }
            let values: BTreeSet<String> = match values {
                Some(Values::Set(set)) => {
                    set.into_iter().filter(|(_, on)| *on).map(|(value, _)| value).collect()
                }
                Some(Values::List(list)) => list.into_iter().collect(),
                None => BTreeSet::new(),
            };
            if !values.is_empty() {
                filters.insert(key, values);
            }
        }
        Ok(Self(filters))
    }

    /// The values of a key.
    pub(crate) fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Whether the key is absent or one of its values fits.
    pub(crate) fn any(&self, key: &str, fits: impl Fn(&str) -> bool) -> bool {
        self.0.get(key).is_none_or(|values| values.iter().any(|value| fits(value)))
    }

    /// Whether the key is absent or names exactly this.
    pub(crate) fn exact(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| value == text)
    }

    /// Whether the key is absent or names a beginning of this.
    pub(crate) fn prefix(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| text.starts_with(value))
    }

    /// Whether the key is absent or names a part of this; `^` and `$` anchor it.
    pub(crate) fn part(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| {
            let (start, rest) = value.strip_prefix('^').map_or((false, value), |rest| (true, rest));
            let (end, part) = rest.strip_suffix('$').map_or((false, rest), |part| (true, part));
            match (start, end) {
                (true, true) => text == part,
                (true, false) => text.starts_with(part),
                (false, true) => text.ends_with(part),
                (false, false) => text.contains(part),
            }
        })
    }

    /// Whether all `label` or `label=value` of the key are there.
    pub(crate) fn labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.values(key).all(|wanted| has_label(labels, wanted))
    }

    /// The only value of a switch, if it is given.
    pub(crate) fn switch(&self, key: &str) -> Result<Option<bool>, ApiError> {
        let mut answer = None;
        for value in self.values(key) {
            let on = match value.to_ascii_lowercase().as_str() {
                "1" | "t" | "true" => true,
                "0" | "f" | "false" => false,
                _ => return Err(ApiError::bad_request(format!("invalid filter '{key}={}'", cut(value)))),
            };
            if answer.is_some_and(|before| before != on) {
                return Err(ApiError::bad_request(format!("invalid filter '{key}={}'", cut(value))));
            }
            answer = Some(on);
        }
        Ok(answer)
    }

    /// Refuses values of a key that are none of these.
    pub(crate) fn only(&self, key: &str, words: &[&str]) -> Result<(), ApiError> {
        match self.values(key).find(|value| !words.contains(value)) {
            None => Ok(()),
            Some(value) => Err(ApiError::bad_request(format!("invalid filter '{key}={}'", cut(value)))),
        }
    }
}

/// Whether `label` or `label=value` is among the labels.
pub(crate) fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        None => labels.contains_key(wanted),
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Set(BTreeMap<String, bool>),
    List(Vec<String>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_mean_the_same() {
        let new = Filters::parse(r#"{"name":{"web":true,"off":false}}"#, &["name"]).unwrap();
        assert_eq!(Ok(new.clone()), Filters::parse(r#"{"name":["web"]}"#, &["name"]));
        assert!(new.prefix("name", "web2") && !new.exact("name", "web2") && new.exact("id", "anything"));
    }

    #[test]
    fn unknown_keys_and_nonsense_are_refused() {
        for text in [r#"{"colour":{"red":true}}"#, "{", r#"{"name":"web"}"#, "[]"] {
            let error = Filters::parse(text, &["name"]).unwrap_err();
            assert!(error.message.starts_with("invalid filter"), "{}", error.message);
            assert_eq!(error.status, 400);
        }
        assert_eq!(Filters::parse("", &[]), Ok(Filters::default()));
        assert_eq!(Filters::parse("{}", &[]), Ok(Filters::default()));
    }

    #[test]
    fn labels_must_all_be_there() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())]);
        let fits = |text| Filters::parse(text, &["label"]).unwrap().labels("label", &labels);
        assert!(fits(r#"{"label":{"a=1":true,"b":true}}"#));
        assert!(!fits(r#"{"label":{"a=1":true,"c":true}}"#));
        assert!(!fits(r#"{"label":{"a=2":true}}"#));
    }

    #[test]
    fn parts_may_be_anchored() {
        let fits = |value: &str, text| {
            let filter = serde_json::json!({"name": {value: true}}).to_string();
            Filters::parse(&filter, &["name"]).unwrap().part("name", text)
        };
        assert!(fits("ell", "helloNet") && fits("^hello", "helloNet") && fits("^helloNet$", "helloNet"));
        assert!(!fits("^ell", "helloNet") && !fits("hello$", "helloNet"));
    }

    #[test]
    fn a_switch_is_one_of_two() {
        let switch = |text| Filters::parse(text, &["x"]).unwrap().switch("x");
        assert_eq!(switch("{}"), Ok(None));
        assert_eq!(switch(r#"{"x":["true"]}"#), Ok(Some(true)));
        assert!(switch(r#"{"x":["true","false"]}"#).is_err() && switch(r#"{"x":["maybe"]}"#).is_err());
    }
}
