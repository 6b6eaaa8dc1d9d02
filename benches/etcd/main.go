// Grants leases in etcd as one would keep a port there: a lease, and a transaction that puts a key under it unless it is taken.
//
// Reads lines "CALLERS MILLISECONDS" and answers each with a line of JSON: how long each grant took, and all of them together.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	connections = 4
	ttlSeconds  = 60
)

type sample struct {
	Micros []int64 `json:"micros"`
	Took   int64   `json:"took"`
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: etcd-leases ENDPOINT BYTES")
	}
	var size int
	if _, err := fmt.Sscan(os.Args[2], &size); err != nil {
		log.Fatal(err)
	}
	value := string(make([]byte, size))
	clients := make([]*clientv3.Client, connections)
	for i := range clients {
		client, err := clientv3.New(clientv3.Config{Endpoints: os.Args[1:2], DialTimeout: 10 * time.Second})
		if err != nil {
			log.Fatal(err)
		}
		clients[i] = client
	}
	run := 0
	lines := bufio.NewScanner(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var callers, millis int
		if _, err := fmt.Sscan(lines.Text(), &callers, &millis); err != nil {
			log.Fatal(err)
		}
		run++
		measured := measure(clients, callers, time.Duration(millis)*time.Millisecond, run, value)
		if err := answers.Encode(measured); err != nil {
			log.Fatal(err)
		}
	}
}

// measure lets each caller grant one lease after the other for so long.
func measure(clients []*clientv3.Client, callers int, window time.Duration, run int, value string) sample {
	times := make([][]int64, callers)
	began := time.Now()
	var all sync.WaitGroup
	for caller := range callers {
		all.Add(1)
		go func() {
			defer all.Done()
			client := clients[caller%len(clients)]
			for n := 0; time.Since(began) < window; n++ {
				at := time.Now()
				grant(client, fmt.Sprintf("port/%d/%d/%d", run, caller, n), value)
				times[caller] = append(times[caller], time.Since(at).Microseconds())
			}
		}()
	}
	all.Wait()
	measured := sample{Took: time.Since(began).Microseconds()}
	for _, one := range times {
		measured.Micros = append(measured.Micros, one...)
	}
	return measured
}

func grant(client *clientv3.Client, key, value string) {
	lease, err := client.Grant(context.Background(), ttlSeconds)
	if err != nil {
		log.Fatal(err)
	}
	free := clientv3.Compare(clientv3.Version(key), "=", 0)
	put := clientv3.OpPut(key, value, clientv3.WithLease(lease.ID))
	done, err := client.Txn(context.Background()).If(free).Then(put).Commit()
	if err != nil {
		log.Fatal(err)
	}
	if !done.Succeeded {
		log.Fatalf("%s is taken", key)
	}
}
