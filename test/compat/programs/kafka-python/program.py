# SPDX-License-Identifier: Apache-2.0
"""kafka-python as a compat client. The contract of the verbs is in test/compat/README.md."""
import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaConnectionError
from kafka.structs import OffsetAndMetadata

from lines import read_records, to_line, write_lines

DELIVERY_SECONDS = 60


def create(bootstrap, partitions, *topics):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, int(partitions), 1) for topic in topics])
    admin.close()


def produce(bootstrap, topic, file, codec, flag=None):
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        acks='all',
        enable_idempotence=flag == '--idempotent',
        compression_type=None if codec == 'none' else codec,
        linger_ms=20,
    )
    sent = []
    for record in read_records(file):
        sent.append(producer.send(
            topic,
            key=record['key'],
            value=record['value'],
            headers=record['headers'],
            partition=record['partition'],
            timestamp_ms=record['timestamp'],
        ))
    producer.flush(DELIVERY_SECONDS)
    for future in sent:
        future.get(DELIVERY_SECONDS)
    producer.close()


def consume(bootstrap, topics, group, count, flag=None):
    consumer = KafkaConsumer(
        *topics.split(','),
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset='earliest',
    )
    lines, following = [], {}
    while len(lines) < int(count):
        try:
            message = next(consumer)
        except KafkaConnectionError:
            continue
        place = TopicPartition(message.topic, message.partition)
        if flag == '--once' and place in following and message.offset < following[place].offset:
            continue
        following[place] = OffsetAndMetadata(message.offset + 1, '', -1)
        lines.append(to_line(message.topic, message.partition, message.offset, message.key, message.value,
                             message.headers, message.timestamp))
    consumer.commit(following)
    consumer.close(autocommit=False)
    write_lines(lines)


if __name__ == '__main__':
    {'create': create, 'produce': produce, 'consume': consume}[sys.argv[1]](*sys.argv[2:])
