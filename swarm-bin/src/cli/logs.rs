//! `swarm-bin service logs`

use std::collections::BTreeMap;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;

use super::service::find;
use super::{VerbError, short};
use crate::api::{Client, encode, number, text};
use crate::out;

/// Shows what the tasks of a service wrote
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// Stays and shows what comes
    #[arg(short, long)]
    follow: bool,
    /// The last so many lines of each task, or `all`
    #[arg(short = 'n', long, default_value = "all", value_name = "LINES")]
    tail: String,
    /// With the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// The lines only, not who wrote them
    #[arg(long)]
    raw: bool,
    /// Its id or name
    service: String,
}

impl LogsArgs {
    pub(super) async fn run(self, client: &Client) -> Result<(), VerbError> {
        let found = find(client, &self.service).await?;
        let replicas = number(&found, "/Spec/Mode/Replicated/Replicas");
        let mut names = Names {
            client,
            service: text(&found, "/Spec/Name").to_owned(),
            digits: replicas.to_string().len(),
            known: BTreeMap::new(),
        };
        let path = format!(
            "/services/{}/logs?stdout=1&stderr=1&details=1&follow={}&timestamps={}&tail={}",
            text(&found, "/ID"),
            u8::from(self.follow),
            u8::from(self.timestamps),
            encode(&self.tail),
        );
        let mut body = client.stream(&path).await?;
        let mut pending = BytesMut::new();
        let damaged = |why: String| VerbError::Log { service: self.service.clone(), why };
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| damaged(error.to_string()))?;
            pending.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
            while let Some((stderr, line)) =
                next(&mut pending).map_err(|len| damaged(format!("a line of {len} bytes")))?
            {
                let line = String::from_utf8_lossy(&line).into_owned();
                let (time, details, rest) = split(&line, self.timestamps);
                let who = if self.raw { String::new() } else { names.of(details).await? };
                out::bytes(stderr, format!("{time}{who}{rest}").as_bytes());
            }
        }
        Ok(())
    }
}

/// The next multiplexed frame, whether it is of stderr; `Err` carries a length that is out of bounds.
fn next(pending: &mut BytesMut) -> Result<Option<(bool, BytesMut)>, usize> {
    let [stream, _, _, _, len @ ..] = *pending.first_chunk::<8>().unwrap_or(&[0; 8]);
    if pending.len() < HEADER {
        return Ok(None);
    }
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > MAX_LINE {
        return Err(len);
    }
    if pending.len() < HEADER + len {
        return Ok(None);
    }
    pending.advance(HEADER);
    Ok(Some((stream == 2, pending.split_to(len))))
}

/// The time (with a blank), the details, and the line itself.
fn split(line: &str, timestamps: bool) -> (String, &str, &str) {
    let (time, rest) = match line.split_once(' ') {
        Some((time, rest)) if timestamps => (format!("{time} "), rest),
        _ => (String::new(), line),
    };
    match rest.split_once(' ') {
        Some((details, rest)) if details.contains("com.docker.swarm.task.id=") => (time, details, rest),
        _ => (time, "", rest),
    }
}

/// The value of a key in `a=1,b=2`.
fn detail<'a>(details: &'a str, key: &str) -> &'a str {
    let mut pairs = details.split(',').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == key).map(|(_, value)| value).unwrap_or_default()
}

/// `web.1.ihmv6ft1qpom@node02    | ` as docker writes it, asked for once per task.
struct Names<'a> {
    client: &'a Client,
    service: String,
    /// Slots are padded to as many.
    digits: usize,
    known: BTreeMap<String, String>,
}

impl Names<'_> {
    async fn of(&mut self, details: &str) -> Result<String, VerbError> {
        let id = detail(details, "com.docker.swarm.task.id");
        if let Some(name) = self.known.get(id) {
            return Ok(name.clone());
        }
        let task = self.client.get(&format!("/tasks/{}", encode(id))).await?;
        let node_id = detail(details, "com.docker.swarm.node.id");
        let node = self.client.get(&format!("/nodes/{}", encode(node_id))).await?;
        let hostname = text(&node, "/Description/Hostname");
        let slot = number(&task, "/Slot").to_string();
        let of_what = if slot == "0" { node_id } else { &slot };
        let padding = " ".repeat(self.digits.saturating_sub(slot.len()));
        let name = format!("{}.{of_what}.{}@{hostname}{padding}    | ", self.service, short(id));
        self.known.insert(id.to_owned(), name.clone());
        Ok(name)
    }
}

/// A stream, three zeros and a length.
const HEADER: usize = 8;
const MAX_LINE: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_wherever_the_connection_cuts_them() {
        let mut pending = BytesMut::new();
        let wire = b"\x01\0\0\0\0\0\0\x03ab\n\x02\0\0\0\0\0\0\x02c\n";
        let mut seen = Vec::new();
        for byte in wire {
            pending.extend_from_slice(&[*byte]);
            while let Some((stderr, line)) = next(&mut pending).unwrap() {
                seen.push((stderr, line.to_vec()));
            }
        }
        assert_eq!(seen, [(false, b"ab\n".to_vec()), (true, b"c\n".to_vec())]);
        assert!(next(&mut BytesMut::from(&[1, 0, 0, 0, 255, 255, 255, 255][..])).is_err());
    }

    #[test]
    fn a_line_is_split_into_time_details_and_text() {
        let details = "com.docker.swarm.node.id=n,com.docker.swarm.service.id=s,com.docker.swarm.task.id=t";
        let line = format!("2026-11-22T03:02:15Z {details} hello world\n");
        assert_eq!(split(&line, true), ("2026-11-22T03:02:15Z ".to_owned(), details, "hello world\n"));
        assert_eq!(split("hello world\n", false), (String::new(), "", "hello world\n"));
        assert_eq!(detail(details, "com.docker.swarm.task.id"), "t");
    }
}
