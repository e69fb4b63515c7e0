//! Words of the command line as parts of the API's objects.

use serde_json::{Map, Value, json};

use super::VerbError;

/// `KEY=VALUE` pairs as an object; a key alone has an empty value.
pub(super) fn labels(pairs: &[String]) -> Value {
    let split = |pair: &String| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), Value::from(value))
    };
    Value::Object(pairs.iter().map(split).collect::<Map<_, _>>())
}

/// Subnets with what was given for the same place; what is left over stands alone, so that the daemon can refuse it.
pub(super) fn zip_subnets(subnets: &[String], gateways: &[String], ranges: &[String]) -> Value {
    let count = subnets.len().max(gateways.len()).max(ranges.len());
    let one = |i: usize| {
        let parts = [("Subnet", subnets.get(i)), ("Gateway", gateways.get(i)), ("IPRange", ranges.get(i))];
        let given = parts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value?))));
        Value::Object(given.collect())
    };
    (0..count).map(one).collect()
}

/// A port to publish: `8080:80`, `80`, `53:53/udp`, or `published=8080,target=80,protocol=tcp,mode=host`.
///
/// # Errors
///
/// It is none of them.
pub(super) fn publish(text: &str) -> Result<Value, VerbError> {
    let refuse = || VerbError::Publish { text: text.to_owned() };
    let port = |port: &str| port.parse::<u16>().map_err(|_| refuse());
    let (mut published, mut protocol, mut mode) = (0, "tcp", "ingress");
    let mut target = 0;
    if text.contains('=') {
        for part in text.split(',') {
            match part.split_once('=').ok_or_else(refuse)? {
                ("published", value) => published = port(value)?,
                ("target", value) => target = port(value)?,
                ("protocol", value) => protocol = value,
                ("mode", value) => mode = value,
                _ => return Err(refuse()),
            }
        }
    } else {
        let (ports, given) = text.split_once('/').unwrap_or((text, "tcp"));
        protocol = given;
        let (outer, inner) = ports.split_once(':').unwrap_or(("0", ports));
        (published, target) = (port(outer)?, port(inner)?);
    }
    if target == 0 || !["tcp", "udp", "sctp"].contains(&protocol) || !["ingress", "host"].contains(&mode) {
        return Err(refuse());
    }
    Ok(json!({
        "Protocol": protocol, "TargetPort": target, "PublishedPort": published, "PublishMode": mode,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_in_both_forms() {
        let of = |text| {
            let port = publish(text).unwrap();
            format!(
                "{}:{}/{} {}",
                port["PublishedPort"], port["TargetPort"], port["Protocol"], port["PublishMode"]
            )
        };
        assert_eq!(of("8080:80"), "8080:80/\"tcp\" \"ingress\"");
        assert_eq!(of("80"), "0:80/\"tcp\" \"ingress\"");
        assert_eq!(of("53:5353/udp"), "53:5353/\"udp\" \"ingress\"");
        assert_eq!(of("published=8080,target=80,mode=host"), "8080:80/\"tcp\" \"host\"");
        for bad in ["", "a:b", "8080:0", "80:80/icmp", "1:2:3", "70000:1", "target=80,what=1", "published=1"]
        {
            assert!(publish(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subnets_keep_their_gateways() {
        let text = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let zipped = zip_subnets(&text(&["172.19.0.1/24", "10.9.0.0/24"]), &text(&["172.19.0.1"]), &[]);
        let expected =
            json!([{"Subnet": "172.19.0.1/24", "Gateway": "172.19.0.1"}, {"Subnet": "10.9.0.0/24"}]);
        assert_eq!(zipped, expected);
        assert_eq!(zip_subnets(&[], &[], &[]), json!([]));
        assert_eq!(labels(&text(&["a=b=c", "d"])), json!({"a": "b=c", "d": ""}));
    }
}
