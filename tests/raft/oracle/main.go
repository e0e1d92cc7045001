// Drives etcd's RawNode by lines on stdin, as ood/raft/sim/script.py drives ours,
// and answers each line with what every node looks like then.
//
// Built without a network: GO111MODULE=off GOPATH=/usr/share/gocode go build.
package main

import (
	"bufio"
	"fmt"
	"io/ioutil"
	"log"
	"os"
	"strconv"
	"strings"

	"go.etcd.io/etcd/raft"
	"go.etcd.io/etcd/raft/raftpb"
)

type node struct {
	id      uint64
	raw     *raft.RawNode
	storage *raft.MemoryStorage
	applied uint64
}

type link struct{ from, to uint64 }

var (
	nodes  []*node
	voters []uint64
	mail   []raftpb.Message
	cut    = map[link]bool{}
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// begin gives every node the same first entry (index 1, term 1), as ours have it.
func begin(count int) {
	for id := 1; id <= count; id++ {
		voters = append(voters, uint64(id))
	}
	for _, id := range voters {
		n := &node{id: id, storage: raft.NewMemoryStorage(), applied: 1}
		must(n.storage.ApplySnapshot(raftpb.Snapshot{Metadata: raftpb.SnapshotMetadata{
			Index: 1, Term: 1, ConfState: raftpb.ConfState{Voters: voters}}}))
		must(n.storage.SetHardState(raftpb.HardState{Term: 1, Commit: 1}))
		nodes = append(nodes, n)
		n.start()
	}
}

func (n *node) start() {
	quiet := &raft.DefaultLogger{Logger: log.New(ioutil.Discard, "", 0)}
	raw, err := raft.NewRawNode(&raft.Config{
		ID: n.id, ElectionTick: 10, HeartbeatTick: 1, Storage: n.storage,
		Applied: n.applied, MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 128,
		CheckQuorum: true, PreVote: true, Logger: quiet})
	must(err)
	n.raw = raw
	n.process()
}

func (n *node) process() {
	for n.raw.HasReady() {
		rd := n.raw.Ready()
		if !raft.IsEmptySnap(rd.Snapshot) {
			must(n.storage.ApplySnapshot(rd.Snapshot))
			n.applied = rd.Snapshot.Metadata.Index
		}
		must(n.storage.Append(rd.Entries))
		if !raft.IsEmptyHardState(rd.HardState) {
			must(n.storage.SetHardState(rd.HardState))
		}
		for _, m := range rd.Messages {
			if cut[link{m.From, m.To}] {
				n.lost(m)
			} else {
				mail = append(mail, m)
			}
		}
		if len(rd.CommittedEntries) > 0 {
			n.applied = rd.CommittedEntries[len(rd.CommittedEntries)-1].Index
		}
		n.raw.Advance(rd)
	}
}

func (n *node) lost(m raftpb.Message) {
	if m.Type == raftpb.MsgSnap {
		n.raw.ReportSnapshot(m.To, raft.SnapshotFailure)
	}
}

func settle() {
	for len(mail) > 0 {
		m := mail[0]
		mail = mail[1:]
		if cut[link{m.From, m.To}] {
			nodes[m.From-1].lost(m)
			continue
		}
		target := nodes[m.To-1]
		_ = target.raw.Step(m) // an error is a refusal, not ours to judge
		target.process()
	}
}

func (n *node) snapshot() {
	if _, err := n.storage.CreateSnapshot(n.applied, &raftpb.ConfState{Voters: voters}, nil); err != nil {
		return // nothing new since the last one
	}
	must(n.storage.Compact(n.applied))
}

func (n *node) describe() string {
	status := n.raw.BasicStatus()
	last, _ := n.storage.LastIndex()
	first, _ := n.storage.FirstIndex()
	var terms []string
	for i := first; i <= last; i++ {
		term, _ := n.storage.Term(i)
		terms = append(terms, strconv.FormatUint(term, 10))
	}
	leading := status.RaftState == raft.StateLeader
	return fmt.Sprintf("%t %d %d %d %d %s", leading, status.Term, status.Vote, status.Commit,
		first, strings.Join(terms, ","))
}

func do(words []string) {
	if words[0] == "heal" {
		cut = map[link]bool{}
		return
	}
	if words[0] == "settle" {
		settle()
		return
	}
	number, err := strconv.Atoi(words[1])
	must(err)
	if words[0] == "nodes" {
		begin(number)
		return
	}
	n := nodes[number-1]
	switch words[0] {
	case "cut":
		other, _ := strconv.Atoi(words[2])
		cut[link{n.id, uint64(other)}] = true
	case "tick":
		n.raw.Tick()
	case "campaign":
		must(n.raw.Campaign())
	case "propose":
		_ = n.raw.Propose([]byte("x"))
	case "transfer":
		other, _ := strconv.Atoi(words[2])
		n.raw.TransferLeader(uint64(other))
	case "restart":
		n.start()
	case "snapshot":
		n.snapshot()
	default:
		log.Fatal("unknown: ", words)
	}
	n.process()
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		do(strings.Fields(lines.Text()))
		var all []string
		for _, n := range nodes {
			all = append(all, n.describe())
		}
		fmt.Println(strings.Join(all, "; "))
	}
}
