//! Expressions: which registers they take, what has to be known of the packet before they are read.

use super::expr::{self, Instruction, Modulus};
use super::field::Layer;
use super::lower::Lowering;
use super::model::{Set, SetData};
use super::operand::{Expr, Spread, ValueMap};
use super::program::{Anonymous, Element, ElementData, LowerError};
use super::value::{Type, Value, width};

impl Lowering<'_> {
    /// Loads an expression into fresh registers and says which.
    pub(super) fn evaluate(&mut self, expr: &Expr, types: &[Type]) -> Result<u32, LowerError> {
        let found = self.types(expr, Some(types))?;
        let same = found.len() == types.len()
            && found
                .iter()
                .zip(types)
                .all(|(a, b)| a.len() == b.len() && (a.is_host_order() == b.is_host_order() || a.len() == 1));
        if !same {
            return Err(LowerError::Type { found, wanted: types.to_vec() });
        }
        self.establish_for(expr)?;
        let dest = self.allocate(types)?;
        self.load(expr, types, dest)?;
        Ok(dest)
    }

    fn load(&mut self, expr: &Expr, types: &[Type], dest: u32) -> Result<(), LowerError> {
        let scratch = self.next;
        match expr {
            Expr::Value(value) => self.load_constant(value, types, dest)?,
            Expr::Field(field) => self.push(field.load(dest)),
            Expr::Masked(inner, mask) => {
                self.load(inner, types, dest)?;
                self.push(expr::mask(dest, &Value::Number(*mask).encode(types)?));
            }
            Expr::Concat(parts) => {
                let mut at = dest;
                for (part, ty) in parts.iter().zip(types) {
                    self.load(part, std::slice::from_ref(ty), at)?;
                    at += words(ty.len())?;
                }
            }
            Expr::Hash { over, modulus, seed, offset } => {
                let range = Modulus { modulus: nonzero(*modulus)?, offset: *offset };
                let key = self.types(over, None)?;
                let source = self.evaluate(over, &key)?;
                self.push(expr::hash(source, padded(&key)?, dest, range, *seed));
            }
            Expr::Number { random, modulus, offset } => {
                let range = Modulus { modulus: nonzero(*modulus)?, offset: *offset };
                self.push(expr::number(dest, *random, range));
            }
            Expr::Lookup { key, map } => self.load_lookup(key, map, types, dest)?,
            Expr::Spread { by, over } => self.load_spread(by, over, types, dest)?,
        }
        self.next = scratch;
        Ok(())
    }

    /// One immediate per component: the kernel takes up to 16 bytes in each.
    fn load_constant(&mut self, value: &Value, types: &[Type], dest: u32) -> Result<(), LowerError> {
        let bytes = value.encode(types)?;
        let mut rest = bytes.as_slice();
        let mut at = dest;
        for ty in types {
            let (part, after) = rest.split_at_checked(ty.len()).ok_or(LowerError::Registers)?;
            self.push(expr::immediate(at, part));
            rest = after.get(ty.len().next_multiple_of(4) - ty.len()..).unwrap_or_default();
            at += words(ty.len())?;
        }
        Ok(())
    }

    fn load_lookup(
        &mut self,
        key: &Expr,
        map: &ValueMap,
        types: &[Type],
        dest: u32,
    ) -> Result<(), LowerError> {
        match map {
            ValueMap::Named(name) => {
                let key_types = self.named(name)?.key.clone();
                let source = self.evaluate(key, &key_types)?;
                self.push(expr::lookup(name, source, Some(dest), false));
            }
            ValueMap::Inline(pairs) => {
                let key_types = self.types(key, None)?;
                let mut elements = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let data = ElementData::Value(value.encode(types)?);
                    elements.push(Element { key: key.encode(&key_types)?, data });
                }
                let source = self.evaluate(key, &key_types)?;
                let set = self.anonymous(key_types, SetData::Values(types.to_vec()), elements)?;
                self.push(expr::lookup_anonymous(set, source, Some(dest), false));
            }
        }
        Ok(())
    }

    /// One slot, or equal ones, need no choice and so no map.
    fn load_spread(
        &mut self,
        by: &Spread,
        over: &[Value],
        types: &[Type],
        dest: u32,
    ) -> Result<(), LowerError> {
        let (first, rest) = over.split_first().ok_or(LowerError::Empty)?;
        if let Spread::Hash { over: fields, .. } = by {
            self.establish_for(&Expr::concat(fields.iter().copied()))?;
        }
        if rest.iter().all(|value| value == first) {
            return self.load_constant(first, types, dest);
        }
        let modulus = u32::try_from(over.len()).map_err(|_| LowerError::TooLong { what: "spread".into() })?;
        let chooser = match by {
            Spread::Hash { over, seed } => {
                let over = Box::new(Expr::concat(over.iter().copied()));
                Expr::Hash { over, modulus, seed: *seed, offset: 0 }
            }
            Spread::RoundRobin => Expr::Number { random: false, modulus, offset: 0 },
            Spread::Random => Expr::Number { random: true, modulus, offset: 0 },
        };
        let slots = (0..modulus).map(Value::Number).zip(over.iter().cloned()).collect();
        self.load_lookup(&chooser, &ValueMap::Inline(slots), types, dest)
    }

    /// The types of an expression; `wanted` decides for what has none of its own.
    pub(super) fn types(&self, expr: &Expr, wanted: Option<&[Type]>) -> Result<Vec<Type>, LowerError> {
        match expr {
            Expr::Field(field) => Ok(vec![field.ty()]),
            Expr::Masked(inner, _) => self.types(inner, wanted),
            Expr::Concat(parts) => {
                let mut types = Vec::with_capacity(parts.len());
                for (at, part) in parts.iter().enumerate() {
                    let own = wanted.and_then(|wanted| wanted.get(at)).map(std::slice::from_ref);
                    types.extend(self.types(part, own)?);
                }
                Ok(types)
            }
            Expr::Hash { .. } | Expr::Number { .. } => Ok(vec![Type::Integer]),
            Expr::Lookup { map: ValueMap::Named(name), .. } => match &self.definition(name)?.data {
                SetData::Values(types) => Ok(types.clone()),
                SetData::Nothing | SetData::Verdicts => {
                    Err(LowerError::SetKind { set: name.clone(), wanted: "a map to values" })
                }
            },
            Expr::Value(value) => {
                wanted.map(<[Type]>::to_vec).ok_or_else(|| LowerError::Untyped { value: value.clone() })
            }
            Expr::Lookup { .. } | Expr::Spread { .. } => {
                wanted.map(<[Type]>::to_vec).ok_or(LowerError::Untyped { value: Value::Number(0) })
            }
        }
    }

    fn definition(&self, name: &str) -> Result<&Set, LowerError> {
        self.scope.sets.get(name).ok_or_else(|| LowerError::NoSet { set: name.to_owned() })
    }

    pub(super) fn named(&mut self, name: &str) -> Result<&Set, LowerError> {
        self.sets.insert(name.to_owned());
        self.definition(name)
    }

    pub(super) fn anonymous(
        &mut self,
        key: Vec<Type>,
        data: SetData,
        elements: Vec<Element>,
    ) -> Result<usize, LowerError> {
        if elements.is_empty() {
            return Err(LowerError::Empty);
        }
        self.anonymous.push(Anonymous { key, data, elements });
        Ok(self.anonymous.len() - 1)
    }

    /// Adds the protocol checks of every field in the expression.
    fn establish_for(&mut self, expr: &Expr) -> Result<(), LowerError> {
        match expr {
            Expr::Field(field) => self.establish(field.needs()),
            Expr::Masked(inner, _) | Expr::Hash { over: inner, .. } | Expr::Lookup { key: inner, .. } => {
                self.establish_for(inner)
            }
            Expr::Concat(parts) => parts.iter().try_for_each(|part| self.establish_for(part)),
            Expr::Spread { by: Spread::Hash { over, .. }, .. } => {
                over.iter().try_for_each(|field| self.establish(field.needs()))
            }
            Expr::Value(_) | Expr::Number { .. } | Expr::Spread { .. } => Ok(()),
        }
    }

    pub(super) fn establish(&mut self, layer: Option<Layer>) -> Result<(), LowerError> {
        let Some(layer) = layer else { return Ok(()) };
        if !self.known.insert(layer) {
            return Ok(());
        }
        self.establish(layer.needs())?;
        let family = self.scope.family;
        let check = layer
            .check(family)
            .map_err(|()| LowerError::Family { field: format!("{layer:?}").to_lowercase(), family })?;
        if let Some((field, op, value)) = check {
            let next = self.next;
            let register = self.allocate(&[field.ty()])?;
            self.push(field.load(register));
            self.push(expr::compare(register, op, &Value::Number(value).encode(&[field.ty()])?));
            self.next = next;
        }
        Ok(())
    }

    fn allocate(&mut self, types: &[Type]) -> Result<u32, LowerError> {
        let first = self.next;
        for ty in types {
            self.next += words(ty.len())?;
        }
        if self.next > REGISTERS { Err(LowerError::Registers) } else { Ok(FIRST_REGISTER + first) }
    }

    pub(super) fn push(&mut self, instruction: Instruction) {
        self.instructions.push(instruction);
    }
}

fn nonzero(modulus: u32) -> Result<u32, LowerError> {
    if modulus == 0 { Err(LowerError::Empty) } else { Ok(modulus) }
}

pub(super) fn words(len: usize) -> Result<u32, LowerError> {
    u32::try_from(len.div_ceil(4)).map_err(|_| LowerError::Registers)
}

pub(super) fn length(types: &[Type]) -> Result<u32, LowerError> {
    u32::try_from(width(types)).map_err(|_| LowerError::Registers)
}

/// Bytes in registers, where even a single component is padded.
fn padded(types: &[Type]) -> Result<u32, LowerError> {
    types.iter().try_fold(0, |sum, ty| Ok(sum + words(ty.len())? * 4))
}

const FIRST_REGISTER: u32 = 8;
const REGISTERS: u32 = 16;
