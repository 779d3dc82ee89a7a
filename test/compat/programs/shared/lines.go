// SPDX-License-Identifier: Apache-2.0

// The JSON lines of the compat programs written in Go; each links to this file.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
)

// A namedBytes is a header: [name, base64 or null].
type namedBytes struct {
	name  string
	value []byte
}

func (n *namedBytes) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&n.name, &n.value})
}

func (n namedBytes) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{n.name, n.value})
}

// A line is one record; a nil slice is JSON's null. Topic and offset are known only to a consumer.
type line struct {
	Topic     string       `json:"topic"`
	Partition int          `json:"partition"`
	Offset    int64        `json:"offset"`
	Key       []byte       `json:"key"`
	Value     []byte       `json:"value"`
	Headers   []namedBytes `json:"headers"`
	Timestamp int64        `json:"timestamp"`
}

func readLines(file string) []line {
	open, err := os.Open(file)
	check(err)
	defer open.Close()
	var lines []line
	for decoder := json.NewDecoder(open); decoder.More(); {
		var next line
		check(decoder.Decode(&next))
		lines = append(lines, next)
	}
	return lines
}

// A keeper keeps track of the next offset of each partition.
type keeper struct {
	once bool
	next map[place]int64
}

type place struct {
	topic     string
	partition int
}

func newKeeper(once bool) *keeper {
	return &keeper{once: once, next: map[place]int64{}}
}

// keeps says whether a record counts: always, unless --once was asked for and it was delivered before.
func (k *keeper) keeps(topic string, partition int, offset int64) bool {
	at := place{topic, partition}
	if k.once && offset < k.next[at] {
		return false
	}
	k.next[at] = offset + 1
	return true
}

func writeLines(lines []line) {
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	for _, each := range lines {
		if each.Headers == nil {
			each.Headers = []namedBytes{}
		}
		check(encoder.Encode(each))
	}
	check(out.Flush())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
