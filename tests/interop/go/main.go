// The Go v2 client, used as an application would use it: go run . ADDRESS GROUP
//
// Prints the same JSON lines as ../java/Report.java, then waits for the end of stdin.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
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

// answers decides by the message's properties: `local` now, `checks` when asked.
type answers struct {
	decided map[string]chan struct{}
}

var states = map[string]primitive.LocalTransactionState{
	"commit": primitive.CommitMessageState, "rollback": primitive.RollbackMessageState,
	"unknown": primitive.UnknowState,
}

func (a *answers) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	return states[m.GetProperty("local")]
}

func (a *answers) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	scenario := m.GetProperty("scenario")
	line(map[string]any{"check": scenario, "uniq": m.MsgId, "answer": m.GetProperty("checks")})
	if c, ok := a.decided[scenario]; ok {
		close(c)
		delete(a.decided, scenario)
	}
	return states[m.GetProperty("checks")]
}

var gid = regexp.MustCompile("^[0-9A-Fa-f]{32}$")

func main() {
	rlog.SetLogLevel("error")
	address, group := os.Args[1], os.Args[2]
	a := &answers{decided: map[string]chan struct{}{}}
	scenarios := []struct {
		name, local, checks string
		body                []byte
		committed           bool
	}{
		{"commit", "commit", "", []byte("hello from Go"), true},
		{"rollback", "rollback", "", []byte("never seen"), false},
		{"check-commit", "unknown", "commit", []byte("asked about"), true},
		{"check-rollback", "unknown", "rollback", []byte("asked in vain"), false},
		{"empty", "commit", "", []byte{}, true},
		{"compressed", "commit", "", []byte(strings.Repeat("gopher ", 1000)), true},
		{"check-compressed", "unknown", "commit", []byte(strings.Repeat("gopher? ", 1000)), true},
	}
	for _, s := range scenarios {
		if s.local == "unknown" {
			a.decided[s.name] = make(chan struct{})
		}
	}
	p, err := rocketmq.NewTransactionProducer(a,
		producer.WithNsResolver(primitive.NewPassthroughResolver([]string{address})),
		producer.WithGroupName(group), producer.WithRetry(1))
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, s := range scenarios {
		m := primitive.NewMessage("orders", append([]byte{}, s.body...))
		m.WithProperties(map[string]string{"scenario": s.name, "local": s.local, "checks": s.checks, "wörter": "größe 🎉"})
		m.WithTag("go").WithKeys([]string{"key-" + s.name})
		asked := a.decided[s.name]
		r, err := p.SendMessageInTransaction(context.Background(), m)
		switch {
		case err != nil:
			fail(s.name, err.Error())
		case !gid.MatchString(r.TransactionID):
			fail(s.name, "no gid: "+r.String())
		default:
			if s.committed {
				headers := map[string]string{}
				for _, name := range []string{"scenario", "local", "checks", "wörter", "TAGS", "KEYS"} {
					headers[name] = m.GetProperty(name)
				}
				line(map[string]any{"expect": s.name, "topic": "orders", "key": "key-" + s.name, "partition": -1,
					"body": s.body, "headers": headers, "uniq": r.MsgID, "gid": r.TransactionID, "group": group})
			}
			if asked != nil {
				select {
				case <-asked:
				case <-time.After(60 * time.Second):
					fail(s.name, "no check came")
				}
			}
		}
		line(map[string]any{"done": s.name})
	}
	io.ReadAll(os.Stdin) // stay, to be asked, until Kafka was read
	p.Shutdown()
}
