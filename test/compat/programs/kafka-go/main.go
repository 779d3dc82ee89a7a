// SPDX-License-Identifier: Apache-2.0

// segmentio/kafka-go as a compat client. The contract of the verbs is in test/compat/README.md.
package main

import (
	"context"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	recordsPerSend = 100
	retryAfter     = 500 * time.Millisecond
	commitWithin   = 30 * time.Second
	// A reader whose broker was away when it found out comes back as a new member, and waits for its old self to expire.
	sessionTimeout = 10 * time.Second
)

var codecs = map[string]kafka.Compression{
	"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

func main() {
	log.SetFlags(0)
	args := os.Args[2:]
	switch os.Args[1] {
	case "create":
		create(args[0], args[1], args[2:])
	case "produce":
		if len(args) > 4 {
			log.Fatal("kafka-go has no idempotent producer")
		}
		produce(args[0], args[1], args[2], args[3])
	case "consume":
		consume(args[0], args[1], args[2], args[3], len(args) > 4 && args[4] == "--once")
	default:
		log.Fatalf("unknown verb %q", os.Args[1])
	}
}

func create(bootstrap, partitions string, topics []string) {
	count, err := strconv.Atoi(partitions)
	check(err)
	client := &kafka.Client{Addr: kafka.TCP(strings.Split(bootstrap, ",")...), Timeout: 10 * time.Second}
	request := &kafka.CreateTopicsRequest{}
	for _, topic := range topics {
		request.Topics = append(request.Topics,
			kafka.TopicConfig{Topic: topic, NumPartitions: count, ReplicationFactor: 1})
	}
	response, err := client.CreateTopics(context.Background(), request)
	check(err)
	for _, failure := range response.Errors {
		check(failure)
	}
}

func produce(bootstrap, topic, file, codec string) {
	writer := &kafka.Writer{
		Addr: kafka.TCP(strings.Split(bootstrap, ",")...), Topic: topic, RequiredAcks: kafka.RequireAll,
		Compression: codecs[codec], BatchSize: recordsPerSend, BatchTimeout: 10 * time.Millisecond,
		Balancer: kafka.BalancerFunc(func(message kafka.Message, _ ...int) int { return message.WriterData.(int) }),
	}
	var messages []kafka.Message
	for _, each := range readLines(file) {
		message := kafka.Message{
			Key: each.Key, Value: each.Value, Time: time.UnixMilli(each.Timestamp), WriterData: each.Partition,
		}
		for _, pair := range each.Headers {
			message.Headers = append(message.Headers, kafka.Header{Key: pair.name, Value: pair.value})
		}
		messages = append(messages, message)
	}
	for len(messages) > 0 {
		taken := min(recordsPerSend, len(messages))
		check(writer.WriteMessages(context.Background(), messages[:taken]...))
		messages = messages[taken:]
	}
	check(writer.Close())
}

// commit tries again: a commit goes over the connection of the group's generation. When that was lost, it fails until
// the next heartbeat has found out and the reader has joined again, while the partitions are read on new connections.
func commit(reader *kafka.Reader, messages []kafka.Message) {
	deadline := time.Now().Add(commitWithin)
	for {
		err := reader.CommitMessages(context.Background(), messages...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			log.Fatalf("no commit within %v: %v", commitWithin, err)
		}
		log.Print(err)
		time.Sleep(retryAfter)
	}
}

func consume(bootstrap, topics, group, count string, once bool) {
	wanted, err := strconv.Atoi(count)
	check(err)
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: strings.Split(bootstrap, ","), GroupID: group, GroupTopics: strings.Split(topics, ","),
		StartOffset: kafka.FirstOffset, MaxWait: 500 * time.Millisecond, MinBytes: 1, MaxBytes: 10 << 20,
		SessionTimeout: sessionTimeout, ErrorLogger: kafka.LoggerFunc(log.Printf),
	})
	var got []kafka.Message
	kept := newKeeper(once)
	for len(got) < wanted {
		message, err := reader.FetchMessage(context.Background())
		if err != nil {
			log.Print(err)
			time.Sleep(retryAfter)
			continue
		}
		if kept.keeps(message.Topic, message.Partition, message.Offset) {
			got = append(got, message)
		}
	}
	commit(reader, got)
	check(reader.Close())
	var lines []line
	for _, each := range got {
		next := line{
			Topic: each.Topic, Partition: each.Partition, Offset: each.Offset, Key: each.Key, Value: each.Value,
			Timestamp: each.Time.UnixMilli(),
		}
		for _, pair := range each.Headers {
			next.Headers = append(next.Headers, namedBytes{pair.Key, pair.Value})
		}
		lines = append(lines, next)
	}
	writeLines(lines)
}
