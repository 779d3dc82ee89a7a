# SPDX-License-Identifier: Apache-2.0
"""librdkafka, through confluent-kafka, as a compat client. The contract of the verbs is in test/compat/README.md.
The same program runs with two releases: see confluent-kafka-2.3."""
import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from lines import read_records, to_line, write_lines

DELIVERY_SECONDS = 60


def create(bootstrap, partitions, *topics):
    admin = AdminClient({'bootstrap.servers': bootstrap})
    for future in admin.create_topics([NewTopic(topic, int(partitions), 1) for topic in topics]).values():
        future.result(DELIVERY_SECONDS)


def produce(bootstrap, topic, file, codec, flag=None):
    failures = []
    producer = Producer({
        'bootstrap.servers': bootstrap,
        'acks': 'all',
        'enable.idempotence': flag == '--idempotent',
        'compression.type': codec,
        'linger.ms': 20,
        'on_delivery': lambda error, message: error and failures.append(error),
    })
    for record in read_records(file):
        producer.produce(
            topic,
            key=record['key'],
            value=record['value'],
            headers=record['headers'],
            partition=record['partition'],
            timestamp=record['timestamp'],
        )
        producer.poll(0)
    left = producer.flush(DELIVERY_SECONDS)
    if left or failures:
        sys.exit(f'{left} records not delivered, {len(failures)} failed: {failures[:1]}')


def consume(bootstrap, topics, group, count, flag=None):
    consumer = Consumer({
        'bootstrap.servers': bootstrap,
        'group.id': group,
        'enable.auto.commit': False,
        'auto.offset.reset': 'earliest',
    })
    consumer.subscribe(topics.split(','))
    lines, following = [], {}
    while len(lines) < int(count):
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if flag == '--once' and (topic, partition) in following and offset < following[topic, partition].offset:
            continue
        following[topic, partition] = TopicPartition(topic, partition, offset + 1)
        lines.append(to_line(topic, partition, offset, message.key(), message.value(), message.headers(),
                             message.timestamp()[1]))
    consumer.commit(offsets=list(following.values()), asynchronous=False)
    consumer.close()
    write_lines(lines)


if __name__ == '__main__':
    {'create': create, 'produce': produce, 'consume': consume}[sys.argv[1]](*sys.argv[2:])
