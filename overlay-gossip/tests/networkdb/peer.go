// A node of Docker's NetworkDB, driven over stdin, for the test beside it. peer.sh builds it.
//
//	peer NODE IP PORT [KEY-IN-BASE64]
//
// Commands: join ADDR | network NET | leave-network NET | create NET TABLE KEY VALUE | update NET TABLE KEY VALUE |
// delete NET TABLE KEY | burst NET TABLE COUNT | dump NET TABLE | peers NET | members | leave
//
// Each command is answered by a line that begins with "ok" or "error". Changes are lines of their own:
// "watch create|update|delete NET TABLE KEY VALUE".
package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/docker/libnetwork/networkdb"
	"github.com/sirupsen/logrus"
)

var lines sync.Mutex

func say(format string, args ...interface{}) {
	lines.Lock()
	defer lines.Unlock()
	fmt.Printf(format+"\n", args...)
}

func main() {
	logrus.SetOutput(os.Stderr)
	port, err := strconv.Atoi(os.Args[3])
	if err != nil {
		panic(err)
	}
	config := networkdb.DefaultConfig()
	config.NodeID, config.Hostname = os.Args[1], os.Args[1]
	config.BindAddr, config.AdvertiseAddr, config.BindPort = os.Args[2], os.Args[2], port
	if len(os.Args) > 4 {
		key, err := base64.StdEncoding.DecodeString(os.Args[4])
		if err != nil {
			panic(err)
		}
		config.Keys = [][]byte{key}
	}
	db, err := networkdb.New(config)
	if err != nil {
		panic(err)
	}
	watch(db)
	say("ok ready")
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		words := strings.Fields(input.Text())
		if len(words) == 0 {
			continue
		}
		answer, err := obey(db, words[0], append(words[1:], "", "", "", ""))
		if err != nil {
			say("error %v", err)
		} else {
			say("ok%s", answer)
		}
	}
}

func obey(db *networkdb.NetworkDB, command string, arg []string) (string, error) {
	network, table, key, value := arg[0], arg[1], arg[2], []byte(arg[3])
	switch command {
	case "join":
		return "", db.Join([]string{arg[0]})
	case "network":
		return "", db.JoinNetwork(network)
	case "leave-network":
		return "", db.LeaveNetwork(network)
	case "create":
		return "", db.CreateEntry(table, network, key, value)
	case "update":
		return "", db.UpdateEntry(table, network, key, value)
	case "delete":
		return "", db.DeleteEntry(table, network, key)
	case "burst":
		count, err := strconv.Atoi(arg[2])
		for i := 0; i < count && err == nil; i++ {
			err = db.CreateEntry(table, network, fmt.Sprintf("p%d", i), []byte(fmt.Sprintf("value-%d", i)))
		}
		return "", err
	case "dump":
		var entries []string
		for key, element := range db.GetTableByNetwork(table, network) {
			entries = append(entries, key+"="+string(element.Value))
		}
		sort.Strings(entries)
		return " " + strings.Join(entries, " "), nil
	case "peers", "members":
		infos := db.ClusterPeers()
		if command == "peers" {
			infos = db.Peers(network)
		}
		var names []string
		for _, info := range infos {
			names = append(names, info.Name)
		}
		sort.Strings(names)
		return " " + strings.Join(names, " "), nil
	case "leave":
		db.Close()
		return "", nil
	}
	return "", fmt.Errorf("no such command: %s", command)
}

func watch(db *networkdb.NetworkDB) {
	events, _ := db.Watch("", "", "")
	go func() {
		for event := range events.C {
			switch e := event.(type) {
			case networkdb.CreateEvent:
				say("watch create %s %s %s %s", e.NetworkID, e.Table, e.Key, e.Value)
			case networkdb.UpdateEvent:
				say("watch update %s %s %s %s", e.NetworkID, e.Table, e.Key, e.Value)
			case networkdb.DeleteEvent:
				say("watch delete %s %s %s %s", e.NetworkID, e.Table, e.Key, e.Value)
			}
		}
	}()
}
