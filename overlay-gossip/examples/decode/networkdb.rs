//! Docker's `NetworkDB` as JSON; what is zero or empty was not sent, and is not shown.

use overlay_gossip::wire::networkdb::{Change, EndpointRecord, Message, PeerRecord, Port, TableEvent};
use serde_json::{Map, Value, json};

use crate::value::hex;

/// A message, if it is one.
pub(crate) fn message(body: &[u8]) -> Option<Value> {
    Some(match Message::parse(body).ok()? {
        Message::Node(event) => json!({ "NodeEvent": shown(json!({
            "type": join(event.joins), "l_time": event.ltime, "node_name": event.node })) }),
        Message::Network(event) => json!({ "NetworkEvent": shown(json!({
            "type": join(event.joins), "l_time": event.ltime, "node_name": event.node,
            "network_id": event.network })) }),
        Message::Table(event) => json!({ "TableEvent": table(&event) }),
        Message::PushPull(state) => {
            let entry = |entry: &overlay_gossip::wire::networkdb::NetworkEntry<'_>| {
                shown(json!({
                    "network_id": entry.network, "l_time": entry.ltime, "node_name": entry.node,
                    "leaving": u8::from(entry.leaving) }))
            };
            let networks: Vec<Value> = state.networks.iter().map(entry).collect();
            json!({ "NetworkPushPull": shown(json!({
                "l_time": state.ltime, "networks": networks, "node_name": state.node })) })
        }
        Message::BulkSync(sync) => json!({ "BulkSync": shown(json!({
            "l_time": sync.ltime, "unsolicited": u8::from(sync.unsolicited), "node_name": sync.node,
            "networks": sync.networks, "payload": message(sync.payload) })) }),
        Message::Compound(messages) => {
            let parts: Option<Vec<Value>> =
                messages.iter().map(|part| Some(json!({ "Payload": message(part)? }))).collect();
            json!({ "Compound": shown(json!({ "messages": parts? })) })
        }
    })
}

fn table(event: &TableEvent<'_>) -> Value {
    let change = match event.change {
        Change::Create => 1,
        Change::Update => 2,
        Change::Delete => 3,
    };
    shown(json!({
        "type": change, "l_time": event.ltime, "node_name": event.node, "network_id": event.network,
        "table_name": event.table, "key": event.key, "value": record(event),
        "residual_reap_time": event.reap_after }))
}

fn record(event: &TableEvent<'_>) -> Value {
    let value = event.value;
    match event.table {
        "overlay_peer_table" => PeerRecord::parse(value).map_or_else(
            |_| hex(value).into(),
            |r| {
                shown(json!({
                    "endpoint_ip": r.endpoint_ip, "endpoint_mac": r.endpoint_mac,
                    "tunnel_endpoint_ip": r.tunnel_endpoint_ip }))
            },
        ),
        "endpoint_table" => EndpointRecord::parse(value).map_or_else(
            |_| hex(value).into(),
            |r| {
                let ports: Vec<Value> = r.ingress_ports.iter().map(port).collect();
                shown(json!({
                    "name": r.name, "service_name": r.service_name, "service_id": r.service_id,
                    "virtual_ip": r.virtual_ip, "endpoint_ip": r.endpoint_ip, "ingress_ports": ports,
                    "aliases": r.aliases, "task_aliases": r.task_aliases,
                    "service_disabled": u8::from(r.service_disabled) }))
            },
        ),
        _ => hex(value).into(),
    }
}

fn port(port: &Port<'_>) -> Value {
    shown(json!({
        "name": port.name, "protocol": port.protocol, "target_port": port.target,
        "published_port": port.published }))
}

fn join(joins: bool) -> u8 {
    if joins { 1 } else { 2 }
}

/// Without what is zero or empty.
fn shown(object: Value) -> Value {
    let Value::Object(fields) = object else { return object };
    let sent = fields.into_iter().filter(|(_, value)| {
        !(value.is_null()
            || *value == json!(0)
            || *value == json!("")
            || value.as_array().is_some_and(Vec::is_empty))
    });
    Value::Object(sent.collect::<Map<_, _>>())
}
