// SPDX-License-Identifier: Apache-2.0

// franz-go as a compat client. The contract of the verbs is in test/compat/README.md.
package main

import (
	"context"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func main() {
	log.SetFlags(0)
	args := os.Args[2:]
	switch os.Args[1] {
	case "create":
		create(args[0], args[1], args[2:])
	case "produce":
		produce(args[0], args[1], args[2], args[3], len(args) > 4 && args[4] == "--idempotent")
	case "consume":
		consume(args[0], args[1], args[2], args[3], len(args) > 4 && args[4] == "--once")
	default:
		log.Fatalf("unknown verb %q", os.Args[1])
	}
}

func connect(bootstrap string, options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(strings.Split(bootstrap, ",")...))...)
	check(err)
	return client
}

func create(bootstrap, partitions string, topics []string) {
	client := connect(bootstrap)
	defer client.Close()
	count, err := strconv.Atoi(partitions)
	check(err)
	request := kmsg.NewPtrCreateTopicsRequest()
	request.TimeoutMillis = 10_000
	for _, name := range topics {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, int32(count), 1
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(context.Background(), client)
	check(err)
	for _, topic := range response.Topics {
		check(kerr.ErrorForCode(topic.ErrorCode))
	}
}

func produce(bootstrap, topic, file, codec string, idempotent bool) {
	options := []kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codecs[codec]),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.AllowAutoTopicCreation(), kgo.ProducerLinger(20 * time.Millisecond),
	}
	if !idempotent {
		// In order without idempotence: one request at a time.
		options = append(options, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	client := connect(bootstrap, options...)
	defer client.Close()
	var records []*kgo.Record
	for _, each := range readLines(file) {
		record := &kgo.Record{
			Topic: topic, Partition: int32(each.Partition), Key: each.Key, Value: each.Value,
			Timestamp: time.UnixMilli(each.Timestamp),
		}
		for _, pair := range each.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: pair.name, Value: pair.value})
		}
		records = append(records, record)
	}
	check(client.ProduceSync(context.Background(), records...).FirstErr())
}

func consume(bootstrap, topics, group, count string, once bool) {
	client := connect(bootstrap, kgo.ConsumerGroup(group), kgo.ConsumeTopics(strings.Split(topics, ",")...),
		kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	wanted, err := strconv.Atoi(count)
	check(err)
	var got []*kgo.Record
	kept := newKeeper(once)
	for len(got) < wanted {
		fetches := client.PollRecords(context.Background(), wanted-len(got))
		for _, failure := range fetches.Errors() {
			log.Printf("fetch of %s/%d: %v", failure.Topic, failure.Partition, failure.Err)
		}
		for _, each := range fetches.Records() {
			if kept.keeps(each.Topic, int(each.Partition), each.Offset) {
				got = append(got, each)
			}
		}
	}
	check(client.CommitRecords(context.Background(), got...))
	var lines []line
	for _, each := range got {
		next := line{
			Topic: each.Topic, Partition: int(each.Partition), Offset: each.Offset, Key: each.Key, Value: each.Value,
			Timestamp: each.Timestamp.UnixMilli(),
		}
		for _, pair := range each.Headers {
			next.Headers = append(next.Headers, namedBytes{pair.Key, pair.Value})
		}
		lines = append(lines, next)
	}
	writeLines(lines)
}
