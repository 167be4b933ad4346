// The Go v2 client, used as an application would use it.
//
//	go run . ADDRESS GROUP run    the scenarios, then waits for the end of stdin
//	go run . ADDRESS GROUP die    half-sends, and is gone before its END
//
// Prints the same JSON lines as ../java/Report.java.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

var out sync.Mutex

func line(v map[string]any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	out.Lock()
	defer out.Unlock()
	fmt.Println(string(text))
}

func fail(scenario, why string) { line(map[string]any{"fail": scenario, "why": why}) }

const (
	uniqKey    = primitive.PropertyUniqueClientMessageIdKeyIndex
	patience   = 60 * time.Second
	partitions = 3
)

var states = map[string]primitive.LocalTransactionState{
	"commit": primitive.CommitMessageState, "rollback": primitive.RollbackMessageState,
	"unknown": primitive.UnknowState,
}

// hold keeps the answer to a scenario's first check back.
type hold struct{ asked, release chan struct{} }

// answers decides by `local` now, and when asked by the message's own `checks`: "unknown,commit", the last one for
// ever.
type answers struct {
	group   string
	local   string
	lock    sync.Mutex
	asked   map[string]int
	decided map[string]chan struct{}
	holds   map[string]hold
}

func (a *answers) decidedOf(scenario string) chan struct{} {
	a.lock.Lock()
	defer a.lock.Unlock()
	if a.decided[scenario] == nil {
		a.decided[scenario] = make(chan struct{})
	}
	return a.decided[scenario]
}

func (a *answers) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	if a.local == "die" { // inside its local transaction
		expect(m, m.GetProperty("__transactionId__"), m.GetProperty("PGROUP"), m.Body, -1)
		os.Exit(9)
	}
	return states[a.local]
}

func (a *answers) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	scenario, uniq := m.GetProperty("scenario"), m.GetProperty(uniqKey)
	plan := strings.Split(m.GetProperty("checks"), ",")
	a.lock.Lock()
	n := a.asked[uniq]
	a.asked[uniq]++
	h, held := a.holds[scenario]
	delete(a.holds, scenario)
	a.lock.Unlock()
	answer := plan[len(plan)-1]
	if n < len(plan) {
		answer = plan[n]
	}
	line(map[string]any{"check": scenario, "uniq": uniq, "n": n, "answer": answer})
	if held {
		close(h.asked)
		<-h.release
	}
	if n == len(plan)-1 {
		close(a.decidedOf(scenario))
	}
	return states[answer]
}

// expect says that Kafka must have this message.
func expect(m *primitive.Message, gid, group string, body []byte, partition int) {
	headers := map[string]string{}
	for name, value := range m.GetProperties() {
		switch name {
		case "TRAN_MSG", "PGROUP", uniqKey, "__transactionId__":
		default:
			headers[name] = value
		}
	}
	key := m.GetShardingKey()
	if key == "" {
		key = strings.Split(m.GetKeys(), " ")[0]
	}
	line(map[string]any{"expect": m.GetProperty("scenario"), "topic": m.Topic, "key": key, "partition": partition,
		"body": body, "headers": headers, "uniq": m.GetProperty(uniqKey), "gid": gid, "group": group})
}

// javaPartition is where Kafka's Java client puts this key.
func javaPartition(key string) int {
	data := []byte(key)
	h := uint32(0x9747b28c) ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= 0x5bd1e995
		k = (k ^ k>>24) * 0x5bd1e995
		h = h*0x5bd1e995 ^ k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(data[0])) * 0x5bd1e995
	}
	h = (h ^ h>>13) * 0x5bd1e995
	return int((h^h>>15)&0x7fffffff) % partitions
}

var (
	gid    = regexp.MustCompile("^[0-9A-Fa-f]{32}$")
	random = rand.New(rand.NewSource(4711))
)

func randomBody(n int) []byte {
	body := make([]byte, n)
	random.Read(body)
	return body
}

type client struct {
	*answers
	producer rocketmq.TransactionProducer
	scenario string // the one that runs
}

func (c *client) message(checks string, body []byte) *primitive.Message {
	m := primitive.NewMessage("orders", append([]byte{}, body...)) // compressing replaces it
	m.WithProperties(map[string]string{"scenario": c.scenario, "checks": checks, "wörter": "größe 🎉"})
	m.WithTag("go").WithKeys([]string{"key-" + c.scenario})
	return m
}

func (c *client) require(holds bool, why string) {
	if !holds {
		fail(c.scenario, why)
	}
}

// send half-sends M, whose local transaction says LOCAL; an empty result when that failed.
func (c *client) send(m *primitive.Message, local string) *primitive.TransactionSendResult {
	c.local = local
	r, err := c.producer.SendMessageInTransaction(context.Background(), m)
	if err != nil {
		fail(c.scenario, err.Error())
		return &primitive.TransactionSendResult{SendResult: primitive.NewSendResult()}
	}
	c.require(gid.MatchString(r.TransactionID), "no gid: "+r.String())
	return r
}

// sent is send of a message whose BODY Kafka must have in the end.
func (c *client) sent(m *primitive.Message, local string, body []byte, partition int) *primitive.TransactionSendResult {
	r := c.send(m, local)
	expect(m, r.TransactionID, c.group, body, partition)
	return r
}

// refused half-sends M; the answer must begin with REMARK.
func (c *client) refused(m *primitive.Message, remark string) {
	_, err := c.producer.SendMessageInTransaction(context.Background(), m)
	c.require(err != nil && strings.HasPrefix(err.Error(), remark), fmt.Sprintf("%v instead of %s", err, remark))
}

func (c *client) awaitChecks() {
	select {
	case <-c.decidedOf(c.scenario):
	case <-time.After(patience):
		fail(c.scenario, "no check came")
	}
}

func (c *client) one(local, checks string, body []byte, committed bool) {
	m := c.message(checks, body)
	if committed {
		c.sent(m, local, body, -1)
	} else {
		c.send(m, local)
	}
	if checks != "" {
		c.awaitChecks()
	}
}

func (c *client) bodies() {
	for _, n := range []int{1 << 10, 5 << 10} { // the client compresses the second
		body := randomBody(n)
		c.sent(c.message("", body), "commit", body, -1)
	}
}

func (c *client) mebibyte() {
	body := randomBody(1 << 20)
	m := c.message("", body)
	m.Topic = "big"
	c.sent(m, "commit", body, 0)
	c.refused(c.message("", body), "too big")
}

func (c *client) keys() {
	for i := 0; i < 30; i++ {
		key := []string{"kunde-", "客户", "k"}[i%3] + strconv.Itoa(i%10)
		body := randomBody(20)
		m := c.message("", body)
		if i%2 == 0 {
			m.WithKeys([]string{key, "another"})
		} else {
			m.WithShardingKey(key)
		}
		m.WithProperty("n", strconv.Itoa(i))
		c.sent(m, "commit", body, javaPartition(key))
	}
}

func (c *client) againUndecided() {
	body := randomBody(200)
	m := c.message("unknown", body)
	first := c.send(m, "unknown")
	second := c.sent(m, "commit", body, -1)
	c.require(first.TransactionID == second.TransactionID && first.QueueOffset == second.QueueOffset, "other tokens")
}

// againAsked sends again between a check and its answer, which was given about a transaction that had not begun.
func (c *client) againAsked() {
	body := randomBody(200)
	m := c.message("rollback,commit", body)
	h := hold{make(chan struct{}), make(chan struct{})}
	c.lock.Lock()
	c.holds[c.scenario] = h
	c.lock.Unlock()
	first := c.send(m, "unknown")
	select {
	case <-h.asked:
	case <-time.After(patience):
		fail(c.scenario, "no check came")
	}
	second := c.sent(m, "unknown", body, -1)
	close(h.release)
	c.require(first.TransactionID == second.TransactionID, "another gid")
	c.awaitChecks()
}

func (c *client) againRolledBack() {
	body := randomBody(200)
	m := c.message("", body)
	first := c.send(m, "rollback")
	second := c.sent(m, "commit", body, -1)
	c.require(first.TransactionID != second.TransactionID, "the gid of a rolled back one")
}

func (c *client) againCommitted() {
	body := randomBody(200)
	m := c.message("", body)
	first := c.sent(m, "commit", body, -1)
	other := c.message("", body)
	other.WithProperty(uniqKey, m.GetProperty(uniqKey))
	c.refused(other, "decided: committed, gid "+strings.ToLower(first.TransactionID))
	second := c.sent(m, "commit", body, -1) // carries __transactionId__: on purpose
	c.require(first.TransactionID != second.TransactionID, "the gid of the first")
}

func (c *client) againOtherBody() {
	m := c.message("rollback", randomBody(200))
	c.send(m, "unknown")
	other := c.message("", randomBody(200))
	other.WithProperty(uniqKey, m.GetProperty(uniqKey))
	c.refused(other, "key reused")
	c.awaitChecks()
}

func (c *client) run() {
	text := []byte(strings.Repeat("gopher? ", 1000)) // compressed
	for _, s := range []struct {
		name string
		run  func()
	}{
		{"commit", func() { c.one("commit", "", []byte("hello from Go"), true) }},
		{"rollback", func() { c.one("rollback", "", []byte("never seen"), false) }},
		{"killed", c.awaitChecks},
		{"check-commit", func() { c.one("unknown", "commit", []byte("asked about"), true) }},
		{"check-rollback", func() { c.one("unknown", "rollback", []byte("asked in vain"), false) }},
		{"check-again", func() { c.one("unknown", "unknown,commit", []byte("asked twice"), true) }},
		{"check-compressed", func() { c.one("unknown", "commit", text, true) }},
		{"empty", func() { c.one("commit", "", []byte{}, true) }},
		{"compressed", func() { c.one("commit", "", text, true) }},
		{"bodies", c.bodies},
		{"mebibyte", c.mebibyte},
		{"keys", c.keys},
		{"again-undecided", c.againUndecided},
		{"again-asked", c.againAsked},
		{"again-rolled-back", c.againRolledBack},
		{"again-committed", c.againCommitted},
		{"again-other-body", c.againOtherBody},
	} {
		c.scenario = s.name
		s.run()
		line(map[string]any{"done": s.name})
	}
}

func main() {
	rlog.SetLogLevel("error")
	address, group := os.Args[1], os.Args[2]
	c := &client{answers: &answers{group: group, asked: map[string]int{}, decided: map[string]chan struct{}{},
		holds: map[string]hold{}}}
	p, err := rocketmq.NewTransactionProducer(c.answers,
		producer.WithNsResolver(primitive.NewPassthroughResolver([]string{address})),
		producer.WithGroupName(group), producer.WithRetry(1))
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	c.producer = p
	if os.Args[3] == "die" {
		c.scenario = "killed"
		c.send(c.message("commit", randomBody(64)), "die")
		os.Exit(1)
	}
	c.run()
	io.ReadAll(os.Stdin) // stay, to be asked, until Kafka was read
	p.Shutdown()
}
