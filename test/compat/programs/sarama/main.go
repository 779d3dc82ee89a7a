// SPDX-License-Identifier: Apache-2.0

// sarama as a compat client. The contract of the verbs is in test/compat/README.md.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const (
	recordsPerSend = 100
	retryAfter     = 500 * time.Millisecond
)

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
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

func create(bootstrap, partitions string, topics []string) {
	admin, err := sarama.NewClusterAdmin(strings.Split(bootstrap, ","), sarama.NewConfig())
	check(err)
	count, err := strconv.Atoi(partitions)
	check(err)
	for _, topic := range topics {
		check(admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: int32(count), ReplicationFactor: 1}, false))
	}
	check(admin.Close())
}

// encoder keeps null apart from empty: a ByteEncoder of nil bytes would be sent as empty.
func encoder(bytes []byte) sarama.Encoder {
	if bytes == nil {
		return nil
	}
	return sarama.ByteEncoder(bytes)
}

func produce(bootstrap, topic, file, codec string, idempotent bool) {
	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Compression = codecs[codec]
	config.Producer.Idempotent = idempotent
	config.Net.MaxOpenRequests = 1
	producer, err := sarama.NewSyncProducer(strings.Split(bootstrap, ","), config)
	check(err)
	var messages []*sarama.ProducerMessage
	for _, each := range readLines(file) {
		message := &sarama.ProducerMessage{
			Topic: topic, Partition: int32(each.Partition), Key: encoder(each.Key), Value: encoder(each.Value),
			Timestamp: time.UnixMilli(each.Timestamp),
		}
		for _, pair := range each.Headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(pair.name), Value: pair.value})
		}
		messages = append(messages, message)
	}
	for len(messages) > 0 {
		taken := min(recordsPerSend, len(messages))
		check(producer.SendMessages(messages[:taken]))
		messages = messages[taken:]
	}
	check(producer.Close())
}

// A taker takes the wanted number of messages from all claims of a session, then ends it.
type taker struct {
	mutex  sync.Mutex
	wanted int
	kept   *keeper
	lines  []line
	done   context.CancelFunc
}

func (t *taker) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (t *taker) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (t *taker) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		if !t.take(session, message) {
			return nil
		}
	}
	return nil
}

func (t *taker) take(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if len(t.lines) == t.wanted {
		return false
	}
	if !t.kept.keeps(message.Topic, int(message.Partition), message.Offset) {
		return true
	}
	next := line{
		Topic: message.Topic, Partition: int(message.Partition), Offset: message.Offset, Key: message.Key,
		Value: message.Value, Timestamp: message.Timestamp.UnixMilli(),
	}
	for _, pair := range message.Headers {
		next.Headers = append(next.Headers, namedBytes{string(pair.Key), pair.Value})
	}
	t.lines = append(t.lines, next)
	session.MarkMessage(message, "")
	if len(t.lines) < t.wanted {
		return true
	}
	session.Commit()
	t.done()
	return false
}

func consume(bootstrap, topics, group, count string, once bool) {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Return.Errors = true
	wanted, err := strconv.Atoi(count)
	check(err)
	member, err := sarama.NewConsumerGroup(strings.Split(bootstrap, ","), group, config)
	check(err)
	go func() {
		for err := range member.Errors() {
			if !errors.Is(err, context.Canceled) {
				log.Print(err)
			}
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	handler := &taker{wanted: wanted, kept: newKeeper(once), done: cancel}
	for ctx.Err() == nil {
		if err := member.Consume(ctx, strings.Split(topics, ","), handler); err != nil && ctx.Err() == nil {
			log.Print(err)
			time.Sleep(retryAfter)
		}
	}
	check(member.Close())
	writeLines(handler.lines)
}
