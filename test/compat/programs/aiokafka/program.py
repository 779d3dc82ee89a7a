# SPDX-License-Identifier: Apache-2.0
"""aiokafka as a compat client. The contract of the verbs is in test/compat/README.md."""
import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from lines import read_records, to_line, write_lines


async def create(bootstrap, partitions, *topics):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, int(partitions), 1) for topic in topics])
    await admin.close()


async def produce(bootstrap, topic, file, codec, flag=None):
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks='all',
        enable_idempotence=flag == '--idempotent',
        compression_type=None if codec == 'none' else codec,
        linger_ms=20,
    )
    await producer.start()
    sent = []
    for record in read_records(file):
        sent.append(await producer.send(
            topic,
            key=record['key'],
            value=record['value'],
            headers=record['headers'],
            partition=record['partition'],
            timestamp_ms=record['timestamp'],
        ))
    await producer.flush()
    for future in sent:
        await future
    await producer.stop()


async def consume(bootstrap, topics, group, count, flag=None):
    consumer = AIOKafkaConsumer(
        *topics.split(','),
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset='earliest',
        # Its heartbeats wait while it hands out what it has fetched; the 10 s of its default are short then.
        session_timeout_ms=45_000,
    )
    await consumer.start()
    lines, following = [], {}
    while len(lines) < int(count):
        message = await consumer.getone()
        place = TopicPartition(message.topic, message.partition)
        if flag == '--once' and message.offset < following.get(place, 0):
            continue
        following[place] = message.offset + 1
        lines.append(to_line(message.topic, message.partition, message.offset, message.key, message.value,
                             message.headers, message.timestamp))
    await consumer.commit(following)
    await consumer.stop()
    write_lines(lines)


if __name__ == '__main__':
    asyncio.run({'create': create, 'produce': produce, 'consume': consume}[sys.argv[1]](*sys.argv[2:]))
