//! The API of a node that is in no swarm.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod support;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use support::{Daemon, recorded};

#[tokio::test]
async fn a_ping_tells_what_is_spoken() {
    let daemon = Daemon::start().await;
    for (method, text) in [("GET", "OK"), ("HEAD", "")] {
        let answer = daemon.send(method, "/_ping", None).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, text));
        assert_eq!((answer.header("Api-Version"), answer.header("Swarm")), ("1.45", "inactive"));
        assert_eq!((answer.header("Ostype"), answer.header("Docker-Experimental")), ("linux", "false"));
        assert!(answer.header("Server").starts_with("swarm-docker/"));
    }
    assert_eq!(daemon.send("HEAD", "/_ping", None).await.header("Content-Length"), "0");
}

#[tokio::test]
async fn every_answer_carries_the_version() {
    let daemon = Daemon::start().await;
    for path in ["/nodes", "/nope", "/v1.99/info", "/v1.41/version", "/containers/json"] {
        assert_eq!(daemon.get(path).await.header("Api-Version"), "1.45", "{path}");
    }
}

#[tokio::test]
async fn versions_out_of_range_are_refused() {
    let daemon = Daemon::start().await;
    assert_eq!(daemon.get("/v1.24/info").await.status, 200);
    assert_eq!(daemon.get("/v1.45/networks?filters=%7B%7D").await.status, 200);
    let old = daemon.get("/v1.23/info").await;
    assert_eq!(old.status, 400);
    assert!(
        old.message().starts_with("client version 1.23 is too old. Minimum supported API version is 1.24")
    );
    let new = daemon.get("/v1.46/info").await;
    assert_eq!(new.message(), "client version 1.46 is too new. Maximum supported API version is 1.45");
}

#[tokio::test]
async fn the_version_is_honest() {
    let daemon = Daemon::start().await;
    let version = daemon.get("/v1.41/version").await.json();
    assert!(version["Platform"]["Name"].as_str().unwrap().contains("not Docker"));
    assert_eq!(version["ApiVersion"], "1.45");
    for field in recorded("version", "/version").as_object().unwrap().keys() {
        assert!(version.get(field).is_some(), "{field}");
    }
}

#[tokio::test]
async fn info_has_the_recorded_fields() {
    let daemon = Daemon::start().await;
    let info = daemon.get("/info").await.json();
    let theirs = recorded("info_noswarm", "/info");
    let absent: Vec<&str> = theirs
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .filter(|field| info.get(field).is_none())
        .collect();
    assert_eq!(absent, ONLY_CONTAINERS, "fields about containers, registries and Go are left out");
    assert_eq!(info["Swarm"], theirs["Swarm"]);
    assert!(info["NCPU"].as_i64().unwrap() > 0 && info["MemTotal"].as_i64().unwrap() > 0);
    assert!(!info["KernelVersion"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn without_a_swarm_there_are_the_networks_of_the_host() {
    let daemon = Daemon::start().await;
    let networks = daemon.get("/v1.41/networks").await.json();
    let names: Vec<_> = networks.as_array().unwrap().iter().map(|network| &network["Name"]).collect();
    assert_eq!(names, ["none", "host", "bridge"]);
    let host = daemon.get("/networks/host").await.json();
    assert_eq!(host["Id"].as_str().unwrap().len(), 64);
    let listed = recorded("network_ls_post", "/networks");
    let mut theirs =
        listed.as_array().unwrap().iter().find(|network| network["Name"] == "host").unwrap().clone();
    theirs["Id"] = host["Id"].clone();
    theirs["Created"] = host["Created"].clone();
    assert_eq!(host, theirs);
    let prefix = &host["Id"].as_str().unwrap()[..12];
    assert_eq!(daemon.get(&format!("/networks/{prefix}")).await.json()["Name"], "host");
    assert_eq!(daemon.get("/networks/host?scope=swarm").await.message(), "network host not found");
}

#[tokio::test]
async fn networks_are_filtered() {
    let daemon = Daemon::start().await;
    for (filters, count) in [
        (json!({"name": {"os": true}}), 1),
        (json!({"driver": ["bridge", "null"]}), 2),
        (json!({"type": {"custom": true}}), 0),
        (json!({"scope": {"local": true}}), 3),
        (json!({"label": {"a": true}}), 0),
        (json!({"dangling": {"true": true}}), 0),
    ] {
        let answer = daemon.get(&format!("/networks?filters={}", encoded(&filters))).await;
        assert_eq!(answer.json().as_array().unwrap().len(), count, "{filters}");
    }
    let wrong =
        daemon.get(&format!("/networks?filters={}", encoded(&json!({"colour": {"red": true}})))).await;
    assert_eq!((wrong.status, wrong.message()), (400, "invalid filter 'colour'".to_owned()));
}

#[tokio::test]
async fn without_a_swarm_its_routes_are_unavailable() {
    let daemon = Daemon::start().await;
    for path in [
        "/nodes",
        "/nodes/self",
        "/services",
        "/services/web",
        "/tasks",
        "/tasks/x",
        "/secrets",
        "/configs/x",
        "/swarm",
        "/swarm/unlockkey",
        "/ipam/audit",
        "/ipam/explain?address=10.0.0.1",
        "/services/web/logs?stdout=1",
    ] {
        let answer = daemon.get(path).await;
        assert_eq!((answer.status, answer.message()), (503, NO_SWARM.to_owned()), "{path}");
    }
    for path in ["/services/create", "/secrets/create", "/configs/create", "/nodes/x/update?version=1"] {
        let answer = daemon.post(path, "{}").await;
        assert_eq!((answer.status, answer.message()), (503, NO_SWARM.to_owned()), "{path}");
    }
    let leave = daemon.send("POST", "/swarm/leave", None).await;
    assert_eq!((leave.status, leave.message()), (503, "This node is not part of a swarm".to_owned()));
}

#[tokio::test]
async fn networks_that_cannot_be_created_say_why() {
    let daemon = Daemon::start().await;
    for (body, status, text) in [
        (json!({"Name": "net", "Driver": "overlay"}), 500, NO_SWARM),
        (
            json!({"Name": "net", "Driver": "bridge"}),
            501,
            "networks of the driver bridge are not provided here, only those of the swarm: use --driver overlay",
        ),
        (
            json!({"Name": "host", "Driver": "overlay"}),
            403,
            "operation is not permitted on predefined host network",
        ),
    ] {
        let answer = daemon.post("/networks/create", &body.to_string()).await;
        assert_eq!((answer.status, answer.message().as_str()), (status, text));
    }
    let removed = daemon.send("DELETE", "/networks/bridge", None).await;
    let text = "bridge is a pre-defined network and cannot be removed";
    assert_eq!((removed.status, removed.message().as_str()), (403, text));
    let removed = daemon.send("DELETE", "/networks/nope", None).await;
    assert_eq!((removed.status, removed.message().as_str()), (404, "network nope not found"));
    let connected = daemon.post("/networks/host/connect", r#"{"Container":"c2"}"#).await;
    assert_eq!((connected.status, connected.message().as_str()), (404, "No such container: c2"));
    assert_eq!(daemon.post("/networks/prune", "").await.json(), json!({"NetworksDeleted": null}));
    for (path, status, text) in [
        ("/networks/host/grow", 400, "network host cannot grow: it is of this host only"),
        ("/networks/nope/grow", 404, "network nope not found"),
    ] {
        let answer = daemon.post(path, r#"{"Subnet":"10.9.0.0/23"}"#).await;
        assert_eq!((answer.status, answer.message().as_str()), (status, text));
    }
    for (path, status, text) in [
        ("/networks/host/rotate-keys", 400, "network host is not encrypted: it is of this host only"),
        ("/networks/nope/rotate-keys", 404, "network nope not found"),
        ("/networks/nope/rotate-keys?grace=1m", 400, "invalid grace '1m': give whole seconds"),
    ] {
        let answer = daemon.post(path, "").await;
        assert_eq!((answer.status, answer.message().as_str()), (status, text));
    }
}

#[tokio::test]
async fn bodies_are_checked() {
    let daemon = Daemon::start().await;
    for (body, text) in [
        ("{", "invalid JSON: EOF while parsing"),
        ("", "invalid JSON: got EOF while reading request body"),
        ("{} {}", "invalid JSON: trailing characters"),
        (r#"{"Mode":{"Global":{},"Replicated":{}}}"#, "invalid JSON: must specify only one service mode"),
    ] {
        let answer = daemon.post("/services/create", body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.message().starts_with(text), "{}", answer.message());
    }
    let huge = format!("{{\"Name\":\"{}\"}}", "x".repeat(4 << 20));
    let answer = daemon.post("/secrets/create", &huge).await;
    assert_eq!((answer.status, answer.message().as_str()), (413, "http: request body too large"));
    let plain = Request::post("/secrets/create").header("Content-Type", "text/plain").body(Body::from("{}"));
    let answer = daemon.ask(plain.unwrap()).await;
    assert_eq!(answer.message(), "unsupported Content-Type header (text/plain): must be 'application/json'");
    let answer = daemon.post("/services/x/update?version=latest", "{}").await;
    assert_eq!(answer.message(), "invalid service version 'latest'");
}

#[tokio::test]
async fn what_is_not_here_says_so() {
    let daemon = Daemon::start().await;
    for path in ["/containers/json?all=1", "/images/json", "/plugins"] {
        assert_eq!(daemon.get(path).await.json(), json!([]), "{path}");
    }
    assert_eq!(daemon.get("/volumes").await.json(), json!({"Volumes": [], "Warnings": null}));
    assert_eq!(daemon.get("/system/df").await.json()["LayersSize"], 0);
    for (path, text) in [
        ("/containers/web/json", "No such container: web"),
        ("/images/a/b:c/json", "No such image: a/b:c"),
        ("/volumes/v", "get v: no such volume"),
        ("/distribution/a/b:c/json", "a/b:c: no registry is asked for digests here"),
        ("/nope", "page not found"),
        ("/v1.41/nope/", "page not found"),
    ] {
        let answer = daemon.get(path).await;
        assert_eq!((answer.status, answer.message().as_str()), (404, text));
    }
    assert_eq!(daemon.send("DELETE", "/info", None).await.message(), "page not found");
    let create = daemon.post("/containers/create?name=c", "{}").await;
    assert_eq!(create.status, 501);
    assert!(create.message().contains("docker service create"), "{}", create.message());
}

#[tokio::test]
async fn events_end_at_their_time() {
    let daemon = Daemon::start().await;
    let answer = daemon.get("/events?since=1&until=2").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert_eq!(answer.header("Content-Type"), "application/json");
    assert_eq!(daemon.get("/events?since=yesterday").await.status, 400);
}

fn encoded(filters: &Value) -> String {
    filters.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect()
}

const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

/// What `docker info` of a Docker daemon has and ours has not.
const ONLY_CONTAINERS: &[&str] = &[
    "BridgeNfIp6tables",
    "BridgeNfIptables",
    "CPUSet",
    "CPUShares",
    "CgroupVersion",
    "ContainerdCommit",
    "CpuCfsPeriod",
    "CpuCfsQuota",
    "GenericResources",
    "HttpProxy",
    "HttpsProxy",
    "IPv4Forwarding",
    "InitCommit",
    "KernelMemory",
    "KernelMemoryTCP",
    "MemoryLimit",
    "NFd",
    "NGoroutines",
    "NoProxy",
    "OomKillDisable",
    "PidsLimit",
    "RegistryConfig",
    "RuncCommit",
    "SwapLimit",
];
