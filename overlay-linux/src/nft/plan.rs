//! The planner: from the observed to the desired state, in the order in which the kernel can take it.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::{Action, Batch, Op};
use super::fingerprint::definition;
use super::lower::{Scope, lower, lower_elements};
use super::model::{BaseChain, Elem, Family, Ruleset, Set, SetData, Table, TableKey};
use super::observe::{Observed, ObservedBase, ObservedChain, ObservedRule, ObservedSet, ObservedTable};
use super::program::{Element, LowerError, Program};
use super::rule::{Stmt, Verdict, VerdictMap};

/// Why there is no plan. Nothing was sent to the kernel.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum PlanError {
    /// Somebody else has a table of that name; we touch only our own.
    #[error("table {table} belongs to somebody else")]
    Foreign { table: TableKey },
    /// A rule cannot be expressed.
    #[error("rule {at} of chain {table} {chain}: {source}")]
    Rule { table: TableKey, chain: String, at: usize, source: LowerError },
    /// A set cannot be expressed.
    #[error("set {table} {set}: {source}")]
    Set { table: TableKey, set: String, source: LowerError },
    /// A name is empty or longer than 255 bytes, or holds a NUL.
    #[error("{name:?} is no name for a table, chain or set")]
    Name { name: String },
}

/// What has to be done. Pure: the same arguments give the same plan, and equal states an empty one.
///
/// Unchanged rules keep their place, their counters and their generators; of a changed chain only the rules
/// between the first and the last difference are replaced. Elements of static sets are added and deleted one by
/// one. Dynamic sets keep their elements unless their definition changes.
///
/// # Errors
/// When the desired state cannot be expressed or names a table of somebody else.
pub fn plan(observed: &Observed, desired: &Ruleset) -> Result<Batch, PlanError> {
    let mut steps = Steps::default();
    for key in observed.tables.keys().filter(|key| !desired.tables.contains_key(key)) {
        steps.tables.push(Op { table: key.clone(), action: Action::DeleteTable });
    }
    for (key, table) in &desired.tables {
        check_name(&key.name)?;
        if observed.foreign.contains(key) {
            return Err(PlanError::Foreign { table: key.clone() });
        }
        let absent = ObservedTable::default();
        let current = match observed.tables.get(key) {
            Some(current) => current,
            None => {
                let action = Action::AddTable { owner: observed.owner.clone() };
                steps.tables.push(Op { table: key.clone(), action });
                &absent
            }
        };
        if current.dormant {
            steps.tables.push(Op { table: key.clone(), action: Action::WakeTable });
        }
        TablePlan { key, table, current, steps: &mut steps }.run()?;
    }
    Ok(Batch { ops: steps.in_order(), generation: observed.generation })
}

/// The steps of all tables, by phase: what refers goes before what is referred to, and comes after it.
#[derive(Default)]
struct Steps {
    tables: Vec<Op>,
    unlink: Vec<Op>,
    delete: Vec<Op>,
    create: Vec<Op>,
    elements: Vec<Op>,
    rules: Vec<Op>,
}

impl Steps {
    fn in_order(self) -> Vec<Op> {
        [self.tables, self.unlink, self.delete, self.create, self.elements, self.rules].concat()
    }
}

struct TablePlan<'a> {
    key: &'a TableKey,
    table: &'a Table,
    current: &'a ObservedTable,
    steps: &'a mut Steps,
}

impl TablePlan<'_> {
    fn run(mut self) -> Result<(), PlanError> {
        let mut replaced = BTreeSet::new();
        for (name, set) in &self.table.sets {
            check_name(name)?;
            if self.plan_set(name, set).map_err(|source| self.set_error(name, source))? {
                replaced.insert(name.clone());
            }
        }
        for name in self.current.sets.keys().filter(|name| !self.table.sets.contains_key(*name)) {
            let action = Action::DeleteSet { set: name.clone() };
            self.steps.delete.push(self.op(action));
        }
        for (name, current) in
            self.current.chains.iter().filter(|(name, _)| !self.table.chains.contains_key(*name))
        {
            self.remove_chain(name, current);
        }
        for (name, chain) in &self.table.chains {
            check_name(name)?;
            let programs = self.lower_chain(name)?;
            self.plan_chain(name, chain.base.as_ref(), programs, &replaced);
        }
        Ok(())
    }

    /// Whether the set is replaced, so that every rule that uses it has to be written again.
    fn plan_set(&mut self, name: &str, set: &Set) -> Result<bool, LowerError> {
        check_set(name, set)?;
        let mut wanted = if set.dynamic { Vec::new() } else { lower_elements(set)? };
        self.check_element_chains(set)?;
        let known = self.current.sets.get(name);
        let same = known.is_some_and(|known| known.fingerprint == Some(definition(set)));
        if let Some(known) = known.filter(|_| same) {
            if !set.dynamic {
                let gone = difference(known, &mut wanted);
                if !gone.is_empty() {
                    let action = Action::DeleteElements { set: name.to_owned(), keys: gone };
                    self.steps.unlink.push(self.op(action));
                }
            }
        } else {
            if known.is_some() {
                let action = Action::DeleteSet { set: name.to_owned() };
                self.steps.delete.push(self.op(action));
            }
            let action = Action::AddSet { set: name.to_owned(), definition: Box::new(set.clone()) };
            self.steps.create.push(self.op(action));
        }
        if !wanted.is_empty() {
            let action = Action::AddElements { set: name.to_owned(), elements: wanted };
            self.steps.elements.push(self.op(action));
        }
        Ok(known.is_some() && !same)
    }

    fn check_element_chains(&self, set: &Set) -> Result<(), LowerError> {
        set.elements.values().try_for_each(|elem| match elem {
            Elem::Verdict(verdict) => self.check_chain(verdict),
            Elem::Member | Elem::Value(_) => Ok(()),
        })
    }

    fn check_chain(&self, verdict: &Verdict) -> Result<(), LowerError> {
        match verdict {
            Verdict::Jump(chain) | Verdict::Goto(chain) if !self.table.chains.contains_key(chain) => {
                Err(LowerError::NoChain { chain: chain.clone() })
            }
            Verdict::Jump(_)
            | Verdict::Goto(_)
            | Verdict::Accept
            | Verdict::Drop
            | Verdict::Return
            | Verdict::Continue => Ok(()),
        }
    }

    fn lower_chain(&self, name: &str) -> Result<Vec<Program>, PlanError> {
        let scope = Scope { family: self.key.family, sets: &self.table.sets };
        let rules = self.table.chains.get(name).map(|chain| chain.rules.as_slice()).unwrap_or_default();
        let lowered = rules.iter().enumerate().map(|(at, rule)| {
            let checked = rule.statements.iter().try_for_each(|statement| self.check_statement(statement));
            checked.and_then(|()| lower(rule, scope)).map_err(|source| PlanError::Rule {
                table: self.key.clone(),
                chain: name.to_owned(),
                at,
                source,
            })
        });
        lowered.collect()
    }

    fn check_statement(&self, statement: &Stmt) -> Result<(), LowerError> {
        if let Stmt::Verdict(verdict) = statement {
            self.check_chain(verdict)?;
        }
        if let Stmt::VerdictMap { map: VerdictMap::Inline(pairs), .. } = statement {
            pairs.values().try_for_each(|verdict| self.check_chain(verdict))?;
        }
        Ok(())
    }

    fn plan_chain(
        &mut self,
        name: &str,
        base: Option<&BaseChain>,
        programs: Vec<Program>,
        replaced: &BTreeSet<String>,
    ) {
        let known = self.current.chains.get(name);
        let in_place = known.is_some_and(|known| same_place(self.key.family, base, known.base.as_ref()));
        let Some(known) = known.filter(|_| in_place) else {
            if let Some(known) = known {
                self.remove_chain(name, known);
            }
            let action = Action::AddChain { chain: name.to_owned(), base: base.cloned() };
            self.steps.create.push(self.op(action));
            self.add_rules(name, (0, programs), None);
            return;
        };
        if let (Some(base), Some(known)) = (base, &known.base)
            && known.policy != base.policy.number()
        {
            let action = Action::SetPolicy { chain: name.to_owned(), policy: base.policy };
            self.steps.create.push(self.op(action));
        }
        self.plan_rules(name, known, programs, replaced);
    }

    /// Replaces what is between the common beginning and the common end.
    fn plan_rules(
        &mut self,
        name: &str,
        known: &ObservedChain,
        mut programs: Vec<Program>,
        replaced: &BTreeSet<String>,
    ) {
        let same = |(program, rule): &(&Program, &ObservedRule)| {
            rule.fingerprint == Some(program.fingerprint) && program.sets.is_disjoint(replaced)
        };
        let shorter = programs.len().min(known.rules.len());
        let head = programs.iter().zip(&known.rules).take_while(same).count();
        let tail = programs.iter().rev().zip(known.rules.iter().rev()).take(shorter - head);
        let tail = tail.take_while(same).count();
        let gone = known.rules.get(head..known.rules.len() - tail).unwrap_or_default();
        if gone.len() == known.rules.len() && gone.len() > 1 {
            let action = Action::FlushChain { chain: name.to_owned() };
            self.steps.unlink.push(self.op(action));
        } else {
            for rule in gone {
                let action = Action::DeleteRule { chain: name.to_owned(), handle: rule.handle };
                self.steps.unlink.push(self.op(action));
            }
        }
        let before = known.rules.get(known.rules.len() - tail).map(|rule| rule.handle);
        let new = programs.drain(head..programs.len() - tail).collect();
        self.add_rules(name, (head, new), before);
    }

    fn add_rules(&mut self, name: &str, (first, programs): (usize, Vec<Program>), before: Option<u64>) {
        for (at, program) in programs.into_iter().enumerate() {
            let program = Box::new(program);
            let action = Action::AddRule { chain: name.to_owned(), at: first + at, before, program };
            self.steps.rules.push(self.op(action));
        }
    }

    fn remove_chain(&mut self, name: &str, known: &ObservedChain) {
        if !known.rules.is_empty() {
            let action = Action::FlushChain { chain: name.to_owned() };
            self.steps.unlink.push(self.op(action));
        }
        let action = Action::DeleteChain { chain: name.to_owned() };
        self.steps.delete.push(self.op(action));
    }

    fn op(&self, action: Action) -> Op {
        Op { table: self.key.clone(), action }
    }

    fn set_error(&self, name: &str, source: LowerError) -> PlanError {
        PlanError::Set { table: self.key.clone(), set: name.to_owned(), source }
    }
}

/// The keys to delete; leaves in `wanted` what is missing. An element with another value is both.
fn difference(known: &ObservedSet, wanted: &mut Vec<Element>) -> Vec<Vec<u8>> {
    let desired: BTreeMap<_, _> = wanted.iter().map(|element| (&element.key, &element.data)).collect();
    let stale = known.elements.iter().filter(|(key, data)| desired.get(key) != Some(data));
    let gone = stale.map(|(key, _)| key.clone()).collect();
    wanted.retain(|element| known.elements.get(&element.key) != Some(&element.data));
    gone
}

fn same_place(family: Family, wanted: Option<&BaseChain>, known: Option<&ObservedBase>) -> bool {
    match (wanted, known) {
        (None, None) => true,
        (Some(wanted), Some(known)) => {
            wanted.kind.name() == known.kind
                && wanted.hook.number(family) == known.hook
                && wanted.priority == known.priority
                && wanted.hook.device() == known.device.as_deref()
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn check_name(name: &str) -> Result<(), PlanError> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains('\0') {
        return Err(PlanError::Name { name: name.to_owned() });
    }
    Ok(())
}

fn check_set(name: &str, set: &Set) -> Result<(), LowerError> {
    let empty_data = matches!(&set.data, SetData::Values(types) if types.is_empty());
    if set.key.is_empty() || empty_data {
        return Err(LowerError::SetKind { set: name.to_owned(), wanted: "of any type" });
    }
    Ok(())
}

const MAX_NAME: usize = 255;
