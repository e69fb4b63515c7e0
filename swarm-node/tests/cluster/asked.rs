//! Questions to a task's name server.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use overlay_linux::netns::NetNs;

/// The kind of record that holds addresses of a family.
pub fn kind(v4: bool) -> RecordType {
    if v4 { RecordType::A } else { RecordType::AAAA }
}

/// What the task's name server says: its code, and the addresses; a failure if there is none yet.
pub fn ask(from: &NetNs, name: &str, kind: RecordType) -> (ResponseCode, BTreeSet<IpAddr>) {
    let Some(message) = exchange(from, name, kind) else { return (ResponseCode::ServFail, BTreeSet::new()) };
    let address = |record: &hickory_proto::rr::Record| {
        let v6 = || if let RData::AAAA(addr) = &record.data { Some(IpAddr::V6(addr.0)) } else { None };
        if let RData::A(addr) = &record.data { Some(IpAddr::V4(addr.0)) } else { v6() }
    };
    (message.metadata.response_code, message.answers.iter().filter_map(address).collect())
}

/// The name of an address, empty if it has none.
pub fn backwards(from: &NetNs, ip: IpAddr) -> String {
    let message = exchange(from, &Name::from(ip).to_ascii(), RecordType::PTR).unwrap();
    let name = message
        .answers
        .iter()
        .find_map(|record| if let RData::PTR(name) = &record.data { Some(name.0.to_ascii()) } else { None });
    name.unwrap_or_default().trim_end_matches('.').to_owned()
}

fn exchange(from: &NetNs, name: &str, kind: RecordType) -> Option<Message> {
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    let packet = query.to_vec().unwrap();
    let answer = from.run(|| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.send_to(&packet, "127.0.0.11:53")?;
        let mut buffer = [0; 1500];
        let len = socket.recv(&mut buffer)?;
        Ok::<_, std::io::Error>(buffer[..len].to_vec())
    });
    Some(Message::from_vec(&answer.ok()?.ok()?).unwrap())
}
