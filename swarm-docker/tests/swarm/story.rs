//! What people do with a swarm, and what it answers.

use crate::machines::{Machine, three};

pub fn tell() {
    let machines = three();
    let [master, node01, node02] = machines.each_ref();
    found(master, node01);
    networks(master, node01);
    services(master);
    secrets(master);
    stack(master);
    nodes(master);
    second_manager(master, node02);
    settings(master);
    leave(master, node01);
    println!("the story of a swarm: ok");
}

fn found(master: &Machine, node01: &Machine) {
    let init = master.ok("swarm init --advertise-addr eth1");
    assert!(init.contains("is now a manager.") && init.contains("192.168.99.100:2377"), "{init}");
    assert_eq!(master.refused("swarm init"), ALREADY);
    let token = master.ok("swarm join-token -q worker");
    assert!(token.starts_with("SWMTKN-1-"), "{token}");
    assert_eq!(node01.refused("swarm join --token nonsense 192.168.99.100:2377"), "invalid join token");
    let joined = node01.ok(&format!("swarm join --token {token} 192.168.99.100:2377"));
    assert_eq!(joined, "This node joined a swarm as a worker.");
    let format = "node ls --format {{.Hostname}}:{{.Status}}:{{.Availability}}:{{.ManagerStatus}}:{{.Self}}";
    master.until(format, "master:Ready:Active:Leader:true\nnode01:Ready:Active::false");
    assert!(node01.refused("node ls").starts_with("This node is not a swarm manager. Worker nodes can't"));
    let info = "info --format {{.Swarm.LocalNodeState}}:{{.Swarm.ControlAvailable}}:{{.Swarm.Nodes}}:{{.Swarm.Managers}}";
    assert_eq!(master.ok(info), "active:true:2:1");
    assert_eq!(node01.ok(info), "active:false:0:0");
    assert!(master.ok("info").contains("Manager Addresses:\n   192.168.99.100:2377"));
    assert_eq!(master.ok("node inspect self --format {{.Status.Addr}}"), "192.168.99.100");
}

fn networks(master: &Machine, node01: &Machine) {
    let list = "network ls --format {{.Name}}:{{.Driver}}:{{.Scope}}";
    for machine in [master, node01] {
        machine.until(list, AT_FIRST);
    }
    master.until(
        "network inspect ingress --format {{range.Peers}}{{.IP}};{{end}}",
        "192.168.99.100;192.168.99.101;",
    );
    let id = master.ok("network create -d overlay --subnet 172.19.0.1/24 --gateway 172.19.0.1 helloNew");
    assert_eq!(id.len(), 25);
    assert_eq!(
        master.ok("network inspect helloNew --format {{json~.IPAM.Config}}"),
        r#"[{"Subnet":"172.19.0.1/24","Gateway":"172.19.0.1"}]"#
    );
    assert_eq!(
        master.refused("network create -d overlay helloNew"),
        "network with name helloNew already exists"
    );
    let overlap = master.refused("network create -d overlay --subnet 172.19.0.128/25 other");
    assert!(overlap.contains("Pool overlaps with other one on this address space"), "{overlap}");
    assert!(overlap.contains("helloNew"), "{overlap}");
    assert!(master.refused("network create -d overlay --ingress second").ends_with("is already present"));
    let name = "rpc error: code = InvalidArgument desc = name must be valid as a DNS name component";
    assert_eq!(master.refused("network create -d overlay bad.name!"), name);
    let worker = "Cannot create a multi-host network from a worker node. Please create the network from a manager node.";
    assert_eq!(node01.refused("network create -d overlay net"), worker);
    master.ok("network create -d overlay --label a=b helloNet");
    assert_eq!(master.ok("network ls -q --filter label=a=b --filter driver=overlay").len(), 12);
    assert_eq!(node01.ok(list), AT_FIRST, "a worker shows the networks of its tasks only");
    master.ok("network create -d overlay unused");
    master.ok("network create -d overlay --subnet 0.0.0.0/20 any");
    let subnet = "network inspect any --format {{(index~.IPAM.Config~0).Subnet}}";
    assert_eq!(master.ok(subnet), "10.0.16.0/20", "the next one of that length");
    master.ok("network rm any");
    how_full(master);
    encrypted(master);
    assert_eq!(master.ok(&format!("network rm {}", &id[..6])), id[..6]);
    assert_eq!(master.ok("network inspect -v ingress --format {{len~.Services}}"), "1");
}

/// What Docker's API 1.52 tells is in the answer of an older one too; extensions answer in the same way.
fn how_full(master: &Machine) {
    let status = "network inspect helloNew --format {{json~.Status}}";
    assert_eq!(
        master.ok(status),
        r#"{"IPAM":{"Subnets":{"172.19.0.0/24":{"DynamicIPsAvailable":253,"IPsInUse":3}}}}"#
    );
    assert!(!master.ask("GET", "/networks", "").1.contains("IPsInUse"), "only when one is inspected");
    let (status, said) = master.ask("GET", "/ipam/audit", "");
    assert_eq!(status, 200, "{said}");
    assert!(said.contains(r#""Networks":4,"#) && said.contains(r#""Findings":[]"#), "{said}");
    let (status, said) = master.ask("GET", "/ipam/explain?address=172.19.0.1", "");
    assert_eq!(status, 200, "{said}");
    assert!(
        said.contains("172.19.0.1 is in 172.19.0.0/24 of network helloNew: held by the gateway"),
        "{said}"
    );
    let (status, said) = master.ask("GET", "/ipam/explain?address=nonsense", "");
    assert_eq!((status, said.contains("invalid address 'nonsense'")), (400, true), "{said}");
}

fn encrypted(master: &Machine) {
    master.ok("network create -d overlay --opt encrypted enc");
    let (id, other) = ("network inspect enc --format {{.Id}}", "network inspect unused --format {{.Id}}");
    let (id, other) = (master.ok(id), master.ok(other));
    assert_eq!(master.ok("network inspect enc --format {{.Options.encrypted}}"), "");
    assert!(master.ok("network inspect enc").contains("\"encrypted\": \"\""));
    assert_eq!(master.ask("POST", &format!("/networks/{id}/rotate-keys"), "").0, 204);
    assert_eq!(master.ask("POST", "/networks/enc/rotate-keys?grace=1", "").0, 204);
    let (status, said) = master.ask("POST", &format!("/networks/{other}/rotate-keys"), "");
    assert_eq!(status, 400, "{said}");
    assert!(said.contains("network unused is not encrypted"), "{said}");
    let refused = master.refused("network create -d overlay --opt encrypted --opt plane=kernel both");
    assert!(refused.contains("leave out --opt plane=kernel, or --opt encrypted"), "{refused}");
    let refused = master.refused("network create -d overlay --opt plane=magic wrong");
    assert_eq!(refused, "invalid plane \"magic\": use auto, kernel or user");
    master.ok("network rm enc");
}

fn services(master: &Machine) {
    let created = master.run(
        "service create --mode replicated --replicas 2 --name helloworld -p 8080:8080 --endpoint-mode vip huyinghuan/helloworld:latest",
    );
    assert_eq!(created.code, 0, "{created:#?}");
    assert!(created.out.contains("converged"), "{created:#?}");
    let list = "service ls --format {{.Name}}:{{.Mode}}:{{.Replicas}}:{{.Ports}}";
    assert_eq!(master.ok(list), "helloworld:replicated:2/2:*:8080->8080/tcp");
    let tasks = "service ps helloworld --format {{.Name}}:{{.DesiredState}} --filter desired-state=running";
    assert_eq!(master.ok(tasks), "helloworld.1:Running\nhelloworld.2:Running");
    assert!(master.ok("service inspect --pretty helloworld").contains("PublishMode = ingress"));
    assert_eq!(master.refused("service create -d --name helloworld hello"), EXISTS);
    let taken = master.refused("service create -d --name other -p 8080:80 hello");
    assert!(taken.contains("port '8080' is already in use by service 'helloworld'"), "{taken}");
    let spec =
        r#"{"Name":"other","TaskTemplate":{"ContainerSpec":{"Image":"x"},"Networks":[{"Target":"bridge"}]}}"#;
    let (status, said) = master.ask("POST", "/services/create", spec);
    assert_eq!(status, 403, "{said}");
    assert!(
        said.contains("The network bridge cannot be used with services. Only networks scoped to the swarm")
    );
    let (status, said) =
        master.ask("POST", "/services/helloworld/update?version=1", r#"{"Name":"helloworld"}"#);
    assert_eq!(status, 500, "{said}");
    assert!(said.contains("update out of sequence"), "{said}");
    assert_eq!(
        master.refused("service create -d --name other --network nope hello"),
        "network nope not found"
    );
    master.ok("service update -d --network-add helloNet helloworld");
    master.ok("service scale -d helloworld=3");
    assert_eq!(master.ok("service inspect helloworld --format {{.Spec.Mode.Replicated.Replicas}}"), "3");
    assert!(master.refused("network rm helloNet").contains("is in use by service"));
    master.ok("service rollback -d helloworld");
    assert_eq!(master.ok("service inspect helloworld --format {{.Spec.Mode.Replicated.Replicas}}"), "2");
    let told = |line: &str| {
        line.contains("Z helloworld.") && line.contains("@master ") && line.contains("listens on port")
    };
    let logs = (0..50).map(|_| master.run("service logs --timestamps helloworld"));
    let logs = logs.inspect(|logs| assert_eq!(logs.code, 0, "{logs:#?}"));
    assert!(logs.into_iter().any(|logs| logs.err.lines().any(told)), "a task on master says what it does");
    assert_eq!(master.refused("service rm nope"), "service nope not found");
}

fn secrets(master: &Machine) {
    let created = master.run_with("secret create --label a=b mysecret -", "hush");
    assert_eq!((created.code, created.out.len()), (0, 25), "{created:#?}");
    let again = master.run_with("secret create mysecret -", "hush");
    assert!(again.err.contains("code = AlreadyExists desc = secret mysecret already exists"), "{again:#?}");
    assert_eq!(master.ok("secret ls --format {{.Name}} --filter name=my"), "mysecret");
    assert!(!master.ok("secret inspect mysecret").contains("aHVzaA"));
    assert_eq!(master.ok("secret rm mysecret"), "mysecret");
    assert_eq!(master.run_with("config create myconfig -", "open").code, 0);
    assert_eq!(master.ok("config inspect myconfig --format {{.Spec.Name}}"), "myconfig");
    assert_eq!(master.ok("config rm myconfig"), "myconfig");
}

fn stack(master: &Machine) {
    let compose = "services:\n  web:\n    image: hello\n    deploy: {replicas: 1}\nnetworks:\n  default: {name: helloNet, external: true}\n";
    for _ in 0..2 {
        let deployed = master.run_with("stack deploy -d -c - app", compose);
        assert_eq!(deployed.code, 0, "{deployed:#?}");
    }
    master.until("stack services app --format {{.Name}}:{{.Replicas}}", "app_web:1/1");
    assert_eq!(master.ok("stack ps app --format {{.Name}}"), "app_web.1", "a second deploy changes nothing");
    assert_eq!(master.ok("stack ls --format {{.Name}}:{{.Services}}"), "app:1");
    assert!(master.ok("network inspect -v helloNet").contains("app_web"));
    master.ok("stack rm app");
    master.until("service ls --filter name=app --format {{.Name}}", "");
}

fn nodes(master: &Machine) {
    assert!(master.refused("node rm node01").ends_with("is not down and can't be removed"));
    assert_eq!(master.refused("node inspect nope"), "node nope not found");
    assert!(
        master.refused("node demote master").contains("attempting to demote the last manager of the swarm")
    );
    master.ok("node update --label-add zone=a --availability drain node01");
    assert_eq!(master.ok("node ls --filter node.label=zone=a --format {{.Hostname}}"), "node01");
    assert_eq!(master.ok("node inspect node01 --format {{.Spec.Availability}}"), "drain");
    assert_eq!(master.run("node ps node01").code, 0);
}

fn second_manager(master: &Machine, node02: &Machine) {
    let token = master.ok("swarm join-token -q manager");
    let joined = node02.ok(&format!("swarm join --token {token} 192.168.99.100:2377"));
    assert_eq!(joined, "This node joined a swarm as a manager.");
    master.until("node ls --filter name=node02 --format {{.ManagerStatus}}", "Reachable");
    node02.ok("network create -d overlay through-a-follower");
    assert_eq!(node02.ok("network ls --filter name=through --format {{.Name}}"), "through-a-follower");
    assert!(node02.ok("node inspect --pretty self").contains("Reachable"));
    assert_eq!(node02.ok("info --format {{.Swarm.ControlAvailable}}:{{.Swarm.Managers}}"), "true:2");
}

fn settings(master: &Machine) {
    let token = master.ok("swarm join-token -q worker");
    let rotated = master.ok("swarm join-token -q --rotate worker");
    assert!(rotated != token && rotated[..59] == token[..59], "{token} {rotated}");
    master.ok("swarm update --task-history-limit 3");
    assert!(master.ok("info").contains("Task History Retention Limit: 3"));
    assert!(master.ok("swarm ca").starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(master.refused("swarm update --autolock=true").contains("autolock"));
    let key = master.run("swarm unlock-key");
    assert!(key.err.contains("no unlock key is set"), "{key:#?}");
    let removed = master.ok("service rm helloworld");
    assert_eq!(removed, "helloworld");
    let events =
        master.ok("events --since 1h --until 0s --format {{.Type}}:{{.Action}}:{{.Actor.Attributes.name}}");
    for event in ["network:create:helloNet", "service:create:helloworld", "secret:remove:mysecret"] {
        assert!(events.lines().any(|line| line == event), "{event} in {events}");
    }
    let pruned = master.run("network prune -f");
    assert!(pruned.code == 0 && pruned.out.contains("unused"), "{pruned:#?}");
}

fn leave(master: &Machine, node01: &Machine) {
    assert_eq!(node01.ok("swarm leave"), "Node left the swarm.");
    assert!(master.refused("swarm leave").starts_with("You are attempting to leave the swarm on a node"));
    assert_eq!(master.ok("swarm leave --force"), "Node left the swarm.");
    assert_eq!(master.ok("info --format {{.Swarm.LocalNodeState}}"), "inactive");
    assert_eq!(master.refused("swarm leave"), "This node is not part of a swarm");
}

const ALREADY: &str = "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one.";

const EXISTS: &str = "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service helloworld already exists";

const AT_FIRST: &str = "bridge:bridge:local\ndocker_gwbridge:bridge:local\nhost:host:local\ningress:overlay:swarm\nnone:null:local";
