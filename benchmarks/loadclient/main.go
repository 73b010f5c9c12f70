// Loadclient opens many WebSockets cheaply, keeps them as the browser's SDK does, and counts what arrives.
//
//	loadclient -url ws://127.0.0.1:8001/connection/websocket -clients clients.jsonl [-count 1000] [-plain]
//
// A line of the clients' file is one client: {"connect": {...}, "channels": {"name": "subscription token"}}, where
// "connect" is sent as the parameters of the connect command. With -plain the server speaks no protocol: each text frame
// is one delivery, and the clients' file is not read.
//
// It is told what to do on standard input, one word a line, and answers each with one line of JSON:
//
//	open    open all clients; answers when each has all its subscriptions, or after -patience
//	count   what has arrived since the last "zero", and who is there
//	zero    forget the deliveries counted until now
//
// It ends with its standard input.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"syscall"
	"time"
)

type options struct {
	url, origin, clients   string
	count, dialing         int
	plain                  bool
	patience               time.Duration
	minBackoff, maxBackoff time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.url, "url", "", "where to connect")
	flag.StringVar(&o.origin, "origin", "", "the page's origin")
	flag.StringVar(&o.clients, "clients", "", "the clients' file")
	flag.IntVar(&o.count, "count", 0, "how many of the file's clients; 0: all")
	flag.IntVar(&o.dialing, "dialing", 100, "how many dial at once at the beginning")
	flag.BoolVar(&o.plain, "plain", false, "the server speaks no protocol")
	flag.DurationVar(&o.patience, "patience", 3*time.Minute, "how long `open` waits")
	flag.DurationVar(&o.minBackoff, "min-backoff", 500*time.Millisecond, "as the SDK's minReconnectDelay")
	flag.DurationVar(&o.maxBackoff, "max-backoff", 20*time.Second, "as the SDK's maxReconnectDelay")
	flag.Parse()
	log.SetFlags(0)
	raiseFileLimit()
	crowd, err := newCrowd(o)
	if err != nil {
		log.Fatal(err)
	}
	obey(crowd, o)
}

func obey(crowd *crowd, o options) {
	words := bufio.NewScanner(os.Stdin)
	for words.Scan() {
		switch words.Text() {
		case "open":
			crowd.open(o.dialing, o.patience)
			say(crowd.stats.report())
		case "count":
			say(crowd.stats.report())
		case "zero":
			crowd.stats.zero()
			say(crowd.stats.report())
		default:
			log.Fatalf("loadclient: unknown word %q", words.Text())
		}
	}
}

func say(what any) {
	line, err := json.Marshal(what)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(line))
}

// raiseFileLimit lets this process have as many sockets as the system allows.
func raiseFileLimit() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) // too few are found out when dialling
	}
}
