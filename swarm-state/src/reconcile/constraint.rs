//! Placement constraints: `node.labels.zone==a`.

use ipnet::IpNet;

use crate::object::Node;

/// A condition that a node meets or not.
///
/// ```
/// assert!(swarm_state::reconcile::parse_constraint("node.role == manager").is_ok());
/// assert!(swarm_state::reconcile::parse_constraint("node.role").is_err());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Constraint {
    key: String,
    equal: bool,
    value: String,
}

/// The text is no constraint.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum ConstraintError {
    #[error("constraint expected one operator from ==, !=")]
    Operator { text: String },
    #[error("key '{key}' is invalid")]
    Key { key: String },
    #[error("value '{value}' is invalid")]
    Value { value: String },
}

/// Reads a constraint.
///
/// # Errors
///
/// With Docker's text, if it is none.
pub fn parse_constraint(text: &str) -> Result<Constraint, ConstraintError> {
    let at =
        text.find("==").map(|at| (at, true)).into_iter().chain(text.find("!=").map(|at| (at, false))).min();
    let parts = at.and_then(|(at, equal)| Some((text.get(..at)?, equal, text.get(at + 2..)?)));
    let Some((key, equal, value)) = parts else {
        return Err(ConstraintError::Operator { text: text.to_owned() });
    };
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b)) {
        return Err(ConstraintError::Key { key: key.to_owned() });
    }
    if value.is_empty() || value.contains("==") || value.contains("!=") {
        return Err(ConstraintError::Value { value: value.to_owned() });
    }
    Ok(Constraint { key: key.to_owned(), equal, value: value.to_owned() })
}

impl Constraint {
    /// Whether the node meets it. A key that does not exist is no node's.
    pub fn admits(&self, node: &Node) -> bool {
        let equals = |text: &str| text.eq_ignore_ascii_case(&self.value) == self.equal;
        let description = &node.description;
        match self.key.to_ascii_lowercase().as_str() {
            "node.id" => equals(node.id.as_str()),
            "node.hostname" => equals(&description.hostname),
            "node.role" => equals(node.spec.role.as_str()),
            "node.platform.os" => equals(&description.platform.os),
            "node.platform.arch" => equals(&description.platform.architecture),
            "node.ip" => self.has_address(node) == self.equal,
            _ => match self.label(node) {
                Some(label) => equals(label),
                None => false,
            },
        }
    }

    /// The label that the key names; empty if the node does not have it.
    fn label<'a>(&self, node: &'a Node) -> Option<&'a str> {
        label(node, &self.key)
    }

    fn has_address(&self, node: &Node) -> bool {
        let Some(addr) = node.status.addr else { return false };
        let net = self.value.parse::<IpNet>().ok().map(|net| net.contains(&addr));
        net.unwrap_or_else(|| self.value.parse() == Ok(addr))
    }
}

/// The value of `node.labels.x` or `engine.labels.x`: empty if the node does not have it, `None` for other keys.
pub(super) fn label<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    if let Some(name) = key.strip_prefix("node.labels.") {
        return Some(node.spec.labels.get(name).map_or("", String::as_str));
    }
    let name = key.strip_prefix("engine.labels.")?;
    Some(node.description.engine.labels.get(name).map_or("", String::as_str))
}

/// Whether the node meets all of them.
pub(super) fn admitted(node: &Node, constraints: &[String]) -> bool {
    constraints.iter().all(|text| parse_constraint(text).is_ok_and(|constraint| constraint.admits(node)))
}
