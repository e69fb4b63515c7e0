//! One question, one answer: the wire format around what the balancer decides.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, PTR},
    },
};
use overlay_lb::{
    View,
    dns::{Answer, Kind, answer},
};

/// What to do with a question.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Send this.
    Reply(Vec<u8>),
    /// Ask somebody else.
    Forward(Box<Message>),
    /// It is no question.
    Ignore,
}

/// Largest answer over UDP to a client that names no size.
const PLAIN_UDP: usize = 512;

/// Decides about a packet. `udp` answers are cut to what the client takes.
pub(super) fn decide(views: &[Arc<View>], packet: &[u8], rotation: u64, udp: bool) -> Verdict {
    let Ok(query) = Message::from_vec(packet) else { return Verdict::Ignore };
    if query.metadata.message_type != MessageType::Query {
        return Verdict::Ignore;
    }
    let [question] = query.queries.as_slice() else {
        return encode(&query, reply(&query, ResponseCode::FormErr), udp);
    };
    if query.metadata.op_code != OpCode::Query {
        return encode(&query, reply(&query, ResponseCode::NotImp), udp);
    }
    let kinds = [(RecordType::A, Kind::A), (RecordType::AAAA, Kind::Aaaa), (RecordType::PTR, Kind::Ptr)];
    let kind = kinds.into_iter().find(|(asked, _)| *asked == question.query_type());
    let kind = kind.map_or(Kind::Other, |(_, kind)| kind);
    let name = question.name().clone();
    let views: Vec<&View> = views.iter().map(Arc::as_ref).collect();
    let mut message = reply(&query, ResponseCode::NoError);
    match answer(&views, &name.to_ascii(), kind, rotation) {
        Answer::Addresses { addrs, ttl_s } => {
            message.answers.extend(addrs.into_iter().map(|addr| address(name.clone(), addr, ttl_s)));
        }
        Answer::Name { name: target, ttl_s } => match Name::from_ascii(&target) {
            Ok(target) => message.answers.push(Record::from_rdata(name, ttl_s, RData::PTR(PTR(target)))),
            Err(_) => message.metadata.response_code = ResponseCode::ServFail,
        },
        Answer::NoData => {}
        Answer::NxDomain => message.metadata.response_code = ResponseCode::NXDomain,
        Answer::Forward => return Verdict::Forward(Box::new(query)),
    }
    encode(&query, message, udp)
}

/// An answer without records.
pub(super) fn refusal(query: &Message, code: ResponseCode) -> Vec<u8> {
    reply(query, code).to_vec().unwrap_or_default()
}

fn reply(query: &Message, code: ResponseCode) -> Message {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.queries.clone_from(&query.queries);
    message
}

fn encode(query: &Message, mut message: Message, udp: bool) -> Verdict {
    let limit = query.edns.as_ref().map_or(PLAIN_UDP, |edns| usize::from(edns.max_payload()).max(PLAIN_UDP));
    loop {
        let Ok(bytes) = message.to_vec() else { return Verdict::Ignore };
        if !udp || bytes.len() <= limit || message.answers.pop().is_none() {
            return Verdict::Reply(bytes);
        }
        message.metadata.truncation = true;
    }
}

fn address(name: Name, addr: IpAddr, ttl_s: u32) -> Record {
    let data = match addr {
        IpAddr::V4(addr) => RData::A(A(addr)),
        IpAddr::V6(addr) => RData::AAAA(AAAA(addr)),
    };
    Record::from_rdata(name, ttl_s, data)
}
