//! From a rule to the kernel's program: types are checked, registers given out, protocol checks added.

use std::collections::{BTreeMap, BTreeSet};

use super::expr::{self, Instruction};
use super::field::{Field, Layer};
use super::fingerprint::fingerprint_of_rule;
use super::load::{length, words};
use super::model::{Elem, Family, Set, SetData};
use super::operand::Expr;
use super::program::{Anonymous, Element, ElementData, LowerError, Program};
use super::rule::{Compare, KeySet, NatTo, Reject, Rule, Stmt, UpdateOp, VerdictMap};
use super::value::{Type, Value};

/// What a rule may refer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) family: Family,
    pub(super) sets: &'a BTreeMap<String, Set>,
}

/// Translates one rule.
pub(super) fn lower(rule: &Rule, scope: Scope<'_>) -> Result<Program, LowerError> {
    if rule.comment.as_ref().is_some_and(|comment| comment.len() > MAX_COMMENT) {
        return Err(LowerError::TooLong { what: "comment".to_owned() });
    }
    let mut lowering = Lowering {
        scope,
        instructions: Vec::new(),
        anonymous: Vec::new(),
        sets: BTreeSet::new(),
        known: BTreeSet::new(),
        next: 0,
    };
    for statement in &rule.statements {
        lowering.next = 0;
        lowering.statement(statement)?;
    }
    let Lowering { instructions, anonymous, sets, .. } = lowering;
    let fingerprint = fingerprint_of_rule(&instructions, &anonymous, rule, &sets, scope)?;
    Ok(Program { instructions, anonymous, sets, fingerprint, comment: rule.comment.clone() })
}

/// The elements of a static set.
pub(super) fn lower_elements(set: &Set) -> Result<Vec<Element>, LowerError> {
    let mut elements = Vec::with_capacity(set.elements.len());
    for (key, elem) in &set.elements {
        let data = match (elem, &set.data) {
            (Elem::Member, SetData::Nothing) => ElementData::Nothing,
            (Elem::Value(value), SetData::Values(types)) => ElementData::Value(value.encode(types)?),
            (Elem::Verdict(verdict), SetData::Verdicts) => ElementData::Verdict(verdict.clone()),
            _ => return Err(LowerError::SetKind { set: key.to_string(), wanted: "of its element's kind" }),
        };
        elements.push(Element { key: key.encode(&set.key)?, data });
    }
    Ok(elements)
}

pub(super) struct Lowering<'a> {
    pub(super) scope: Scope<'a>,
    pub(super) instructions: Vec<Instruction>,
    pub(super) anonymous: Vec<Anonymous>,
    pub(super) sets: BTreeSet<String>,
    pub(super) known: BTreeSet<Layer>,
    /// The first free register, counted in words.
    pub(super) next: u32,
}

impl Lowering<'_> {
    fn statement(&mut self, statement: &Stmt) -> Result<(), LowerError> {
        match statement {
            Stmt::Match { left, op, right } => self.compare(left, *op, right),
            Stmt::Between { left, from, to, negate } => self.between(left, (from, to), *negate),
            Stmt::In { left, set, negate } => self.member(left, set, *negate),
            Stmt::Set { target, to } => {
                self.establish(target.needs())?;
                let source = self.evaluate(to, &[target.ty()])?;
                self.push(target.store(source));
                Ok(())
            }
            Stmt::Update { .. } => self.update(statement),
            Stmt::Verdict(verdict) => {
                self.push(expr::verdict(verdict));
                Ok(())
            }
            Stmt::VerdictMap { key, map } => self.verdict_map(key, map),
            Stmt::DestinationNat(to) => self.nat(true, to),
            Stmt::SourceNat(to) => self.nat(false, to),
            Stmt::Masquerade => {
                self.push(expr::masquerade());
                Ok(())
            }
            Stmt::Redirect { port } => self.redirect(*port),
            Stmt::NoTrack => {
                self.push(expr::notrack());
                Ok(())
            }
            Stmt::Reject(answer) => self.reject(*answer),
            Stmt::Counter => {
                self.push(expr::counter());
                Ok(())
            }
            Stmt::Forward { device } => {
                let source = self.evaluate(device, &[Type::Device])?;
                self.push(expr::forward(source));
                Ok(())
            }
            Stmt::Limit { rate, per, burst, over } => {
                self.push(expr::limit(*rate, per.as_secs().max(1), *burst, *over));
                Ok(())
            }
        }
    }

    fn compare(&mut self, left: &Expr, op: Compare, right: &Value) -> Result<(), LowerError> {
        let types = self.types(left, None)?;
        let mut value = right.encode(&types)?;
        if value.len() > MAX_CONSTANT && matches!(op, Compare::Eq | Compare::Ne) {
            let set = KeySet::Inline(BTreeSet::from([right.clone()]));
            return self.member(left, &set, op == Compare::Ne);
        }
        let register = self.evaluate(left, &types)?;
        if !matches!(op, Compare::Eq | Compare::Ne) {
            self.order(register, &types, [&mut value])?;
        }
        self.push(expr::compare(register, op, &value));
        if let (Expr::Field(Field::L4Protocol), Compare::Eq, Value::Number(number)) = (left, op, right) {
            self.known.extend(match number {
                6 => Some(Layer::Tcp),
                17 => Some(Layer::Udp),
                _ => None,
            });
        }
        Ok(())
    }

    fn between(&mut self, left: &Expr, ends: (&Value, &Value), negate: bool) -> Result<(), LowerError> {
        let types = self.types(left, None)?;
        let mut from = ends.0.encode(&types)?;
        let mut to = ends.1.encode(&types)?;
        let register = self.evaluate(left, &types)?;
        self.order(register, &types, [&mut from, &mut to])?;
        self.push(expr::range(register, negate, &from, &to));
        Ok(())
    }

    /// Makes a register and constants comparable: the kernel compares bytes from left to right.
    fn order<const N: usize>(
        &mut self,
        register: u32,
        types: &[Type],
        constants: [&mut Vec<u8>; N],
    ) -> Result<(), LowerError> {
        let [ty] = types else {
            return Err(LowerError::Type { found: types.to_vec(), wanted: vec![Type::Integer] });
        };
        if ty.is_host_order() && ty.len() <= 4 && cfg!(target_endian = "little") {
            self.push(expr::to_network_order(register, length(types)?));
            for constant in constants {
                constant.reverse();
            }
        }
        Ok(())
    }

    fn member(&mut self, left: &Expr, set: &KeySet, negate: bool) -> Result<(), LowerError> {
        match set {
            KeySet::Named(name) => {
                let key = self.named(name)?.key.clone();
                let register = self.evaluate(left, &key)?;
                self.push(expr::lookup(name, register, None, negate));
            }
            KeySet::Inline(keys) => {
                let types = self.types(left, None)?;
                let mut elements = Vec::with_capacity(keys.len());
                for key in keys {
                    elements.push(Element { key: key.encode(&types)?, data: ElementData::Nothing });
                }
                let register = self.evaluate(left, &types)?;
                let set = self.anonymous(types, SetData::Nothing, elements)?;
                self.push(expr::lookup_anonymous(set, register, None, negate));
            }
        }
        Ok(())
    }

    fn update(&mut self, statement: &Stmt) -> Result<(), LowerError> {
        let Stmt::Update { set, op, key, value, timeout } = statement else {
            return Ok(());
        };
        let definition = self.named(set)?;
        if !definition.dynamic {
            return Err(LowerError::SetKind { set: set.clone(), wanted: "dynamic" });
        }
        let (key_types, data) = (definition.key.clone(), definition.data.clone());
        let key = self.evaluate(key, &key_types)?;
        let value = match (value, &data) {
            (Some(value), SetData::Values(types)) => Some(self.evaluate(value, types)?),
            (None, SetData::Nothing) => None,
            _ => return Err(LowerError::SetKind { set: set.clone(), wanted: "of the update's kind" }),
        };
        let op = match op {
            UpdateOp::Add => 0,
            UpdateOp::Update => 1,
            UpdateOp::Delete => 2,
        };
        let timeout = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self.push(expr::update(set, op, key, value, timeout));
        Ok(())
    }

    fn verdict_map(&mut self, key: &Expr, map: &VerdictMap) -> Result<(), LowerError> {
        match map {
            VerdictMap::Named(name) => {
                let definition = self.named(name)?;
                if definition.data != SetData::Verdicts {
                    return Err(LowerError::SetKind { set: name.clone(), wanted: "a verdict map" });
                }
                let types = definition.key.clone();
                let register = self.evaluate(key, &types)?;
                self.push(expr::lookup(name, register, Some(0), false));
            }
            VerdictMap::Inline(pairs) => {
                let types = self.types(key, None)?;
                let mut elements = Vec::with_capacity(pairs.len());
                for (key, verdict) in pairs {
                    let data = ElementData::Verdict(verdict.clone());
                    elements.push(Element { key: key.encode(&types)?, data });
                }
                let register = self.evaluate(key, &types)?;
                let set = self.anonymous(types, SetData::Verdicts, elements)?;
                self.push(expr::lookup_anonymous(set, register, Some(0), false));
            }
        }
        Ok(())
    }

    fn nat(&mut self, destination: bool, to: &NatTo) -> Result<(), LowerError> {
        let (layer, family) = match to.types.as_slice() {
            [Type::Ipv4] | [Type::Ipv4, Type::Port] => (Layer::Ipv4, Family::Ip),
            [Type::Ipv6] | [Type::Ipv6, Type::Port] => (Layer::Ipv6, Family::Ip6),
            other => {
                return Err(LowerError::Type { found: other.to_vec(), wanted: vec![Type::Ipv4, Type::Port] });
            }
        };
        self.establish(Some(layer))?;
        let addr = self.evaluate(&to.to, &to.types)?;
        let port = match to.types.as_slice() {
            [ty, _] => Some(addr + words(ty.len())?),
            _ => None,
        };
        self.push(expr::nat(destination, family.number(), addr, port));
        Ok(())
    }

    fn redirect(&mut self, port: Option<u16>) -> Result<(), LowerError> {
        let register = match port {
            Some(port) => Some(self.evaluate(&Expr::from(port), &[Type::Port])?),
            None => None,
        };
        self.push(expr::redirect(register));
        Ok(())
    }

    fn reject(&mut self, answer: Reject) -> Result<(), LowerError> {
        let (kind, code) = match (answer, self.scope.family) {
            (Reject::TcpReset, _) => {
                self.establish(Some(Layer::Tcp))?;
                (1, 0)
            }
            (Reject::PortUnreachable, Family::Ip) => (0, 3),
            (Reject::PortUnreachable, Family::Ip6) => (0, 4),
            (Reject::Prohibited, Family::Ip) => (0, 13),
            (Reject::Prohibited, Family::Ip6) => (0, 1),
            (Reject::PortUnreachable, _) => (2, 1),
            (Reject::Prohibited, _) => (2, 3),
        };
        self.push(expr::reject(kind, code));
        Ok(())
    }
}

/// Most bytes that one comparison takes.
const MAX_CONSTANT: usize = 16;
const MAX_COMMENT: usize = 127;
