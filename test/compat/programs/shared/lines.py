# SPDX-License-Identifier: Apache-2.0
"""The JSON lines of the compat programs written in Python; each links to this file."""
import base64
import json
import sys


def decode(text):
    return None if text is None else base64.b64decode(text)


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def read_records(file):
    """Dicts with bytes where the lines have base64."""
    with open(file, encoding='utf-8') as lines:
        for record in map(json.loads, lines):
            yield {
                **record,
                'key': decode(record['key']),
                'value': decode(record['value']),
                'headers': [(name, decode(value)) for name, value in record['headers']],
            }


def to_line(topic, partition, offset, key, value, headers, timestamp):
    return json.dumps({
        'topic': topic,
        'partition': partition,
        'offset': offset,
        'key': encode(key),
        'value': encode(value),
        'headers': [[name, encode(data)] for name, data in headers or []],
        'timestamp': timestamp,
    })


def write_lines(lines):
    sys.stdout.write(''.join(line + '\n' for line in lines))
    sys.stdout.flush()
