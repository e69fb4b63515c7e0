//! Golden bytes, and the planner against a kernel that minds references.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;

use super::batch::Action;
use super::expr::Instruction;
use super::fingerprint::definition;
use super::lower::{Scope, lower};
use super::observe::{ObservedBase, ObservedChain, ObservedRule, ObservedSet, ObservedTable};
use super::program::{Element, ElementData};
use super::wire::{NLM_F_CREATE, messages};
use super::*;

#[test]
fn a_port_match_has_the_bytes_that_nft_sends() {
    let rule = Rule::new().when(Field::TcpDestination, 8080_u16).verdict(Verdict::Drop);
    assert_eq!(
        names_and_attrs(&rule),
        [
            "meta 0800020000000010 0800010000000008",
            "cmp 0800010000000008 0800020000000000 0c000380 0500010006000000",
            "payload 0800010000000008 0800020000000002 0800030000000002 0800040000000002",
            "cmp 0800010000000008 0800020000000000 0c000380 060001001f900000",
            "immediate 0800010000000000 10000280 0c000280 0800010000000000",
        ]
        .map(|line| line.replace(' ', ""))
    );
}

#[test]
fn a_port_of_a_datagram_with_a_checksum_is_rewritten_as_nft_does_it() {
    let rule = Rule::new().when(Field::VxlanVni, 0x00_ab_cd_u32).set(Target::UdpDestination, 4790_u16);
    assert_eq!(
        names_and_attrs(&rule),
        [
            "meta 0800020000000010 0800010000000008",
            "cmp 0800010000000008 0800020000000000 0c000380 0500010011000000",
            "payload 0800010000000008 0800020000000002 080003000000000c 0800040000000003",
            "cmp 0800010000000008 0800020000000000 0c000380 0700010000abcd00",
            "payload 0800010000000008 0800020000000002 0800030000000006 0800040000000002",
            "cmp 0800010000000008 0800020000000001 0c000380 0600010000000000",
            "immediate 0800010000000008 0c000280 0600010012b60000",
            "payload 0800050000000008 0800020000000002 0800030000000002 0800040000000002 \
             0800060000000001 0800070000000006",
        ]
        .map(|line| line.replace(' ', ""))
    );
}

#[test]
fn a_range_of_marks_is_compared_in_network_order() {
    let rule = Rule::new().when_between(Field::CtMark, 0x200_u32, 0x2ff_u32);
    let lowered = names_and_attrs(&rule);
    assert_eq!(lowered.len(), 3);
    assert!(lowered[1].starts_with("byteorder"), "{lowered:?}");
    assert!(lowered[2].contains("00000200") && lowered[2].ends_with("000002ff"), "{lowered:?}");
}

#[test]
fn one_slot_or_equal_slots_need_no_map() {
    let by = || Spread::hash([Field::IpSource], 1);
    for slots in [vec![7_u32], vec![7, 7, 7]] {
        let rule = Rule::new().set(Target::Mark, Expr::spread(by(), slots));
        assert!(lower(&rule, scope(&BTreeMap::new())).unwrap().anonymous.is_empty());
    }
    let rule = Rule::new().set(Target::Mark, Expr::spread(by(), Vec::<u32>::new()));
    assert_eq!(lower(&rule, scope(&BTreeMap::new())).unwrap_err(), LowerError::Empty);
}

#[test]
fn what_cannot_be_expressed_is_refused_with_a_reason() {
    let sets = BTreeMap::from([("m".to_owned(), Set::map([Type::Port], [Type::Ether]))]);
    let cases = [
        (Rule::new().when(Field::IpSource, 5_u32), "5 is not [Ipv4]"),
        (Rule::new().when(Field::TcpDestination, 70_000_u32), "70000 is not [Port]"),
        (Rule::new().when(Field::VxlanVni, 1_u32 << 24), "16777216 is not [Vni]"),
        (Rule::new().when(Field::Ip6Source, "x"), "\"x\" is not [Ipv6]"),
        (
            Rule::new().when(Field::Ip6Source, std::net::Ipv6Addr::LOCALHOST),
            "ipv6 does not exist in a table of family ip",
        ),
        (Rule::new().when_in_set(Field::Mark, "nowhere"), "no set nowhere in the table"),
        (
            Rule::new().set(Target::Mark, Expr::from(Field::TcpSource).lookup("m")),
            "[Ether] used where [Mark] is wanted",
        ),
        (Rule::new().when_in_set(Field::Mark, "m"), "[Mark] used where [Port] is wanted"),
        (
            Rule::new().when_in(Expr::concat([Field::IifName; 5]), [Value::concat(vec!["lo".into(); 5])]),
            "a statement needs more than 64 bytes of registers",
        ),
    ];
    for (rule, reason) in cases {
        assert_eq!(lower(&rule, scope(&sets)).unwrap_err().to_string(), reason);
    }
}

#[test]
fn a_long_list_of_elements_is_split_below_the_length_of_an_attribute() {
    let elements = (0..10_000_u32)
        .map(|at| Element { key: at.to_be_bytes().to_vec(), data: ElementData::Nothing })
        .collect();
    let op = Op { table: TableKey::ip("t"), action: Action::AddElements { set: "s".into(), elements } };
    let sent = op.messages(&mut 0);
    assert!(sent.len() > 5);
    let mut bytes = Vec::new();
    for message in &sent {
        assert_eq!(message.flags & NLM_F_CREATE, NLM_F_CREATE);
        message.emit(1, &mut bytes).unwrap();
    }
    assert_eq!(messages(&bytes).count(), sent.len());
}

proptest! {
    #[test]
    fn a_plan_leads_to_the_desired_state(from in any_ruleset(), to in any_ruleset()) {
        let mut kernel = Kernel::default();
        for desired in [&Ruleset::default(), &from, &to, &from, &Ruleset::default()] {
            let batch = plan(&kernel.observed, desired).unwrap();
            for op in batch.ops() {
                kernel.apply(op);
            }
            let again = plan(&kernel.observed, desired).unwrap();
            prop_assert!(again.is_empty(), "left to do: {:?}", again.ops().iter().map(ToString::to_string).collect::<Vec<_>>());
        }
        prop_assert!(kernel.observed.tables.is_empty());
    }

    #[test]
    fn any_damage_is_repaired(desired in any_ruleset(), damage in any::<(u8, usize)>()) {
        let mut kernel = Kernel::default();
        for op in plan(&kernel.observed, &desired).unwrap().ops() {
            kernel.apply(op);
        }
        kernel.damage(damage.0, damage.1);
        for op in plan(&kernel.observed, &desired).unwrap().ops() {
            kernel.apply(op);
        }
        prop_assert!(plan(&kernel.observed, &desired).unwrap().is_empty());
    }

    #[test]
    fn parsing_what_the_kernel_says_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut observed = Observed::empty("o");
        let key = TableKey::ip("t");
        observed.tables.insert(key, ObservedTable::default());
        for message in messages(&bytes) {
            let _ = channel::Failure::parse(message);
            let _ = message.netfilter();
        }
        // A table's name in front lets the rest be read.
        let mut named = vec![6, 0, 1, 0, b't', 0, 0, 0];
        named.extend(&bytes);
        for bytes in [&bytes, &named] {
            observed.add_table(2, bytes);
            observed.add_chain(2, bytes);
            observed.add_rule(2, bytes);
            observed.add_set(2, bytes);
            observed.add_elements(2, bytes);
        }
        let _ = fingerprint::find_tag(&bytes, 0xe1);
    }
}

/// Rule sets of two tables, few chains and two sets, so that two of them share much.
fn any_ruleset() -> impl Strategy<Value = Ruleset> {
    let rule = (0..6_u8, 0..3_u8);
    let chain = (any::<Option<bool>>(), proptest::collection::vec(rule, 0..5));
    let chains = proptest::collection::btree_map(0..3_u8, chain, 0..3);
    let elements = proptest::collection::btree_map(0..6_u16, 0..3_u8, 0..5);
    let table = (chains, elements, 0..3_u8);
    proptest::collection::btree_map(0..2_u8, table, 0..3).prop_map(|tables| {
        let mut ruleset = Ruleset::default();
        for (name, (chains, elements, variant)) in tables {
            let table = ruleset.table(TableKey::ip(format!("t{name}")));
            table.chain("leaf", Chain::regular());
            let mut map = Set::verdicts([Type::Port]);
            map.size = (variant == 2).then_some(99);
            for (port, chain) in &elements {
                let regular = chains.get(chain).is_some_and(|(base, _)| base.is_none());
                let target = if regular { format!("c{chain}") } else { "leaf".to_owned() };
                map = map.verdict(*port, Verdict::Jump(target));
            }
            table.set("services", map);
            let seconds = 10 + u64::from(variant);
            table.set("flows", Set::map([Type::Ipv4], [Type::Mark]).dynamic(Duration::from_secs(seconds), 9));
            for (chain, (base, rules)) in chains {
                let mut built = Chain::regular();
                built.base = base.map(|drop| BaseChain {
                    policy: if drop { Policy::Drop } else { Policy::Accept },
                    ..BaseChain::filter(Hook::Input, i32::from(variant / 2))
                });
                built.rules = rules.into_iter().map(|(kind, value)| any_rule(kind, value)).collect();
                table.chain(format!("c{chain}"), built);
            }
        }
        ruleset
    })
}

fn any_rule(kind: u8, value: u8) -> Rule {
    let rule = Rule::new().when(Field::Mark, u32::from(value));
    match kind {
        0 => rule.jump("leaf"),
        1 => rule.then(Stmt::VerdictMap {
            key: Field::TcpDestination.into(),
            map: VerdictMap::Named("services".into()),
        }),
        2 => rule.set(Target::Mark, Expr::from(Field::IpSource).lookup("flows")),
        3 => rule.when_in(Field::IpSource, [Ipv4Addr::new(10, 0, 0, value)]),
        4 => rule.then(Stmt::Counter),
        _ => rule.verdict(Verdict::Accept),
    }
}

/// A kernel that refuses, by panic, what the real one refuses.
#[derive(Default)]
struct Kernel {
    observed: Observed,
    /// Which rules use which named sets and chains.
    uses: BTreeMap<u64, BTreeSet<String>>,
    handles: u64,
}

impl Kernel {
    fn apply(&mut self, op: &Op) {
        if matches!(op.action, Action::AddTable { .. }) {
            let before = self.observed.tables.insert(op.table.clone(), ObservedTable::default());
            assert!(before.is_none(), "{op}: exists");
            return;
        }
        if matches!(op.action, Action::DeleteTable) {
            self.observed.tables.remove(&op.table).unwrap();
            return;
        }
        let table = self.observed.tables.get_mut(&op.table).unwrap();
        match &op.action {
            Action::AddTable { .. } | Action::DeleteTable => {}
            Action::WakeTable => table.dormant = false,
            Action::AddChain { chain, base } => {
                let base = base.as_ref().map(|base| ObservedBase {
                    kind: base.kind.name().to_owned(),
                    hook: base.hook.number(op.table.family),
                    priority: base.priority,
                    policy: base.policy.number(),
                    device: base.hook.device().map(ToOwned::to_owned),
                });
                let new = ObservedChain { base, rules: Vec::new() };
                assert!(table.chains.insert(chain.clone(), new).is_none(), "{op}: exists");
            }
            Action::SetPolicy { chain, policy } => {
                table.chains.get_mut(chain).unwrap().base.as_mut().unwrap().policy = policy.number();
            }
            Action::DeleteChain { chain } => {
                let gone = table.chains.remove(chain).unwrap();
                assert!(gone.rules.is_empty(), "{op}: has rules");
                let leads = table.sets.values().flat_map(|set| set.elements.values());
                let verdict = ElementData::Verdict(Verdict::Jump(chain.clone()));
                assert!(leads.into_iter().all(|data| *data != verdict), "{op}: an element leads to it");
            }
            Action::FlushChain { chain } => table.chains.get_mut(chain).unwrap().rules.clear(),
            Action::DeleteRule { chain, handle } => {
                let rules = &mut table.chains.get_mut(chain).unwrap().rules;
                rules.remove(rules.iter().position(|rule| rule.handle == *handle).unwrap());
            }
            Action::AddRule { chain, at, before, program } => {
                assert!(program.sets.iter().all(|set| table.sets.contains_key(set)), "{op}: no such set");
                let rules = &mut table.chains.get_mut(chain).unwrap().rules;
                self.handles += 1;
                self.uses.insert(self.handles, program.sets.clone());
                let place = match before {
                    Some(handle) => rules.iter().position(|rule| rule.handle == *handle).unwrap(),
                    None => rules.len(),
                };
                assert_eq!(place, *at, "{op}: at {place}");
                let fingerprint = Some(program.fingerprint);
                rules.insert(place, ObservedRule { handle: self.handles, fingerprint });
            }
            Action::AddSet { set, definition: wanted } => {
                let fingerprint = Some(definition(wanted));
                let new = ObservedSet { fingerprint, dynamic: wanted.dynamic, elements: BTreeMap::new() };
                assert!(table.sets.insert(set.clone(), new).is_none(), "{op}: exists");
            }
            Action::DeleteSet { set } => {
                assert!(table.sets.remove(set).is_some());
                for rule in table.chains.values().flat_map(|chain| &chain.rules) {
                    assert!(!self.uses[&rule.handle].contains(set), "{op}: a rule uses it");
                }
            }
            Action::AddElements { set, elements } => {
                let set = table.sets.get_mut(set).unwrap();
                for element in elements {
                    if let ElementData::Verdict(Verdict::Jump(chain)) = &element.data {
                        assert!(table.chains[chain].base.is_none(), "{op}: leads to a base chain");
                    }
                    let before = set.elements.insert(element.key.clone(), element.data.clone());
                    assert!(before.is_none(), "{op}: exists");
                }
            }
            Action::DeleteElements { set, keys } => {
                let set = table.sets.get_mut(set).unwrap();
                for key in keys {
                    assert!(set.elements.remove(key).is_some(), "{op}: not there");
                }
            }
        }
    }

    fn damage(&mut self, kind: u8, at: usize) {
        self.handles += 1;
        let stray = ObservedRule { handle: self.handles, fingerprint: None };
        self.uses.insert(self.handles, BTreeSet::new());
        let Some(table) = self.observed.tables.values_mut().next() else { return };
        match kind % 5 {
            0 => table.chains.values_mut().for_each(|chain| chain.rules.clear()),
            1 => {
                for chain in table.chains.values_mut() {
                    chain.rules.insert(at % (chain.rules.len() + 1), stray);
                }
            }
            2 => table.sets.values_mut().for_each(|set| set.elements.clear()),
            3 => {
                for chain in table.chains.values_mut() {
                    chain.rules.reverse();
                }
            }
            _ => table.dormant = true,
        }
    }
}

const fn scope(sets: &BTreeMap<String, Set>) -> Scope<'_> {
    Scope { family: Family::Ip, sets }
}

fn names_and_attrs(rule: &Rule) -> Vec<String> {
    let program = lower(rule, scope(&BTreeMap::new())).unwrap();
    let line = |instruction: &Instruction| match instruction {
        Instruction::Plain { name, attrs } => {
            let hex: String = attrs.finish().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{name}{hex}")
        }
        Instruction::LookupAnonymous { set, .. } => format!("lookup anonymous {set}"),
    };
    program.instructions.iter().map(line).collect()
}
