// SPDX-License-Identifier: Apache-2.0
// docs/configuration.md from the config tables. print-config-docs.mjs writes it; test/broker/config/docs.test.ts holds it up to date.
import { varveConfigs } from '../src/broker/config/broker-configs.ts'
import { coordinatorConfigs } from '../src/broker/config/coordinator-configs.ts'
import type { ConfigDefinition } from '../src/broker/config/definition.ts'
import { logConfigs } from '../src/broker/config/log-configs.ts'
import { serverConfigs } from '../src/broker/config/server-configs.ts'
import { topicConfigs } from '../src/broker/config/topic-configs.ts'

const INTRODUCTION = `# Configuration

This file is printed from the tables in \`src/broker/config\` by \`npm run docs:config\`; edit those.

Names, types, defaults and bounds are those of Apache Kafka 4.4, and \`DescribeConfigs\` lists them (\`kafka-configs --describe\`,
\`kafka-topics --describe\`). Broker configs are set with \`varve serve --set NAME=VALUE\` or in the properties file of \`--config FILE\`;
\`--set\` is stronger. Topic configs are set when a topic is made (\`kafka-topics --create --config NAME=VALUE\`). No config can be changed
at run time in this version.

The \`server.properties\` of a Kafka broker can be given as it is:

- What is listed as *accepted, without effect* is checked and described as Kafka does it, and does nothing; \`varve serve\` logs one
  warning that names all of them. So are the configs of machinery that varve does not have: \`process.roles\`, \`controller.*\`,
  \`metadata.*\`, \`remote.*\`, \`share.*\`, \`group.share.*\`, \`group.streams.*\`, \`zookeeper.*\` and metrics reporters.
- What secures a broker is refused, because ignoring it would leave the broker open: \`ssl.*\`, \`sasl.*\`, \`authorizer.class.name\`,
  \`delegation.token.*\`, \`principal.builder.class\`, \`security.providers\`, \`listener.name.*\`, policy classes and \`config.providers\`.
- Any other name is a typing error, and refused.

A value is what is written: there is no \`\${file:…}\` and no class loading.
`

export function configDocs(): string {
  return [
    INTRODUCTION,
    section('varve’s own configs', 'Broker configs that Kafka does not have.', varveConfigs),
    section(
      'Topic configs',
      'Set for one topic; the broker configs in the third column give the default of all others, the first that is set.',
      topicConfigs,
    ),
    section('Broker configs: server', 'Identity, listeners, sockets, limits.', serverConfigs),
    section('Broker configs: logs', 'Directories, segments, retention.', logConfigs),
    section('Broker configs: groups and transactions', 'Coordinators and their topics.', coordinatorConfigs),
  ].join('\n')
}

function section(title: string, text: string, all: readonly ConfigDefinition[]): string {
  const shown = all.filter(({ internal }) => !internal)
  const obeyed = shown.filter(({ effect }) => effect === 'obeyed')
  const accepted = shown.filter(({ effect }) => effect === 'accepted')
  const parts = [`## ${title}\n`, `${text}\n`, table(obeyed)]
  if (accepted.length > 0) parts.push('Accepted, without effect:\n', table(accepted))
  return parts.join('\n')
}

function table(definitions: readonly ConfigDefinition[]): string {
  const rows = definitions.map(
    (definition) =>
      `| \`${definition.name}\` | ${definition.type}, ${defaultText(definition)}${validText(definition)} | ${synonymText(definition)}${definition.doc.replaceAll('|', '\\|')} |\n`,
  )
  return `| config | type, default, valid | what it does |\n|---|---|---|\n${rows.join('')}`
}

function defaultText({ defaultValue }: ConfigDefinition): string {
  if (defaultValue === null) return 'not set'
  return defaultValue === '' ? 'empty' : `\`${defaultValue}\``
}

function validText({ min, max, or, oneOf }: ConfigDefinition): string {
  if (oneOf !== undefined) return `; ${oneOf.map((value) => `\`${value}\``).join(' ')}`
  if (min !== undefined && max !== undefined) return `; ${min} to ${max}${or === undefined ? '' : ` or ${or}`}`
  if (min !== undefined) return `; at least ${min}`
  return max === undefined ? '' : `; at most ${max}`
}

function synonymText(definition: ConfigDefinition & { synonyms?: ReadonlyArray<{ readonly name: string }> }): string {
  const { synonyms } = definition
  return synonyms === undefined ? '' : `(${synonyms.map(({ name }) => `\`${name}\``).join(', ')}) `
}
