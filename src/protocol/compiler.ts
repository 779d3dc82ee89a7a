// SPDX-License-Identifier: Apache-2.0
// Turns one version of one message into two functions of straight-line JavaScript, as one would write them by hand:
// reads of neighbouring fixed-size fields share one bounds check, absent fields are constants. What is generated depends
// on our own tables only, never on input. test/protocol holds it to the interpreter, value for value and byte for byte.
import type { Form } from './interpreter.ts'
import type { Reader } from './reader.ts'
import {
  type AnyField,
  FIXED_SIZE,
  type Fields,
  type FixedKind,
  holds,
  isFixed,
  minSize,
  type WireType,
  ZERO_UUID,
} from './schema.ts'
import type { Writer } from './writer.ts'

export type Decoder = (reader: Reader) => unknown
export type Encoder = (writer: Writer, message: unknown) => void

export function compileDecoder(messageName: string, fields: Fields, form: Form): Decoder {
  const source = new DecoderSource(form)
  const result = source.struct(fields)
  return build(
    messageName,
    form,
    'decode',
    'r',
    `let p = 0\nconst b = r.buffer\n${source.text()}return ${result}\n`,
  ) as Decoder
}

export function compileEncoder(messageName: string, fields: Fields, form: Form): Encoder {
  const source = new EncoderSource(form)
  source.struct(fields, 'm')
  return build(messageName, form, 'encode', 'w, m', `let p = 0\n${source.text()}`) as Encoder
}

/** The name and the source URL are what a stack trace shows. */
function build(messageName: string, form: Form, verb: string, parameters: string, body: string): unknown {
  const name = `${messageName}_v${form.version}`
  const url = `varve/protocol/${name}.${verb}.js`
  return new Function(`'use strict'\nreturn function ${name}(${parameters}) {\n${body}}\n//# sourceURL=${url}\n`)()
}

class Source {
  readonly form: Form
  #lines: string[] = []
  #names = 0

  constructor(form: Form) {
    this.form = form
  }

  protected line(text: string): void {
    this.#lines.push(text)
  }

  protected fresh(prefix: string): string {
    return `${prefix}${++this.#names}`
  }

  text(): string {
    return this.#lines.map((line) => `${line}\n`).join('')
  }

  protected isCarried(field: AnyField): boolean {
    return holds(field.traits.versions, this.form.version)
  }

  protected isNullable(field: AnyField): boolean {
    return holds(field.traits.nullableIn, this.form.version)
  }

  protected tagged(fields: Fields): [string, AnyField, number][] {
    return Object.entries(fields)
      .filter(([, field]) => field.traits.tag !== undefined && this.isCarried(field))
      .map(([name, field]): [string, AnyField, number] => [name, field, field.traits.tag!])
      .sort((a, b) => a[2] - b[2])
  }

  /** `string`, `compactNullableString` and so on: how Reader and Writer name their methods. */
  protected method(stem: string, nullable: boolean): string {
    const name = `${this.form.flexible ? 'compact' : ''}${nullable ? 'Nullable' : ''}${stem}`
    return name[0]!.toLowerCase() + name.slice(1)
  }
}

const READ_FIXED: { readonly [K in FixedKind]: (at: (plus: number) => string) => string } = {
  bool: (at) => `b[${at(0)}] !== 0`,
  int8: (at) => `b[${at(0)}] << 24 >> 24`,
  int16: (at) => `b[${at(0)}] << 24 >> 16 | b[${at(1)}]`,
  int32: (at) => `b[${at(0)}] << 24 | b[${at(1)}] << 16 | b[${at(2)}] << 8 | b[${at(3)}]`,
  int64: (at) => `r.int64At(${at(0)})`,
  offset: (at) => `r.offsetAt(${at(0)})`,
  timestampMs: (at) => `r.timestampMsAt(${at(0)})`,
  uuid: (at) => `r.uuidAt(${at(0)})`,
}

function readFixed(kind: FixedKind, offset: number): string {
  return READ_FIXED[kind]((plus) => (offset + plus === 0 ? 'p' : `p + ${offset + plus}`))
}

class DecoderSource extends Source {
  /** Emits what reads the fields; returns an expression for the object. */
  struct(fields: Fields): string {
    const values = new Map<string, string>()
    let run: { name: string; kind: FixedKind }[] = []
    const endRun = () => {
      if (run.length === 0) return
      this.line(`p = r.take(${run.reduce((sum, { kind }) => sum + FIXED_SIZE[kind], 0)})`)
      let offset = 0
      for (const { name, kind } of run) {
        this.line(`const ${values.get(name)} = ${readFixed(kind, offset)}`)
        offset += FIXED_SIZE[kind]
      }
      run = []
    }
    for (const [name, field] of Object.entries(fields)) {
      const variable = this.fresh('v')
      values.set(name, variable)
      if (!this.isCarried(field)) values.set(name, defaultSource(field))
      else if (field.traits.tag !== undefined) this.line(`let ${variable} = ${defaultSource(field)}`)
      else if (isFixed(field.type)) run.push({ name, kind: field.type.kind })
      else {
        endRun()
        values.set(name, this.value(field.type, this.isNullable(field)))
      }
    }
    endRun()
    const object = `{ ${[...values].map(([name, value]) => `${name}: ${value}`).join(', ')} }`
    return this.form.flexible ? this.#withTaggedFields(fields, values, object) : object
  }

  #withTaggedFields(fields: Fields, values: Map<string, string>, object: string): string {
    const [unknown, count, tag, end, result] = ['u', 'c', 't', 'e', 'o'].map((prefix) => this.fresh(prefix))
    this.line(`let ${unknown}`)
    this.line(`let ${count} = r.taggedCount()`)
    this.line(`for (let ${tag} = -1; ${count} > 0; ${count}--) {`)
    this.line(`${tag} = r.tag(${tag})`)
    this.line(`const ${end} = r.openTag()`)
    this.line(`switch (${tag}) {`)
    for (const [name, field, number] of this.tagged(fields)) {
      this.line(`case ${number}: {`)
      this.line(`${values.get(name)} = ${this.value(field.type, this.isNullable(field))}`)
      this.line('break }')
    }
    this.line(`default: (${unknown} ??= []).push(r.unknownTag(${tag}))`)
    this.line('}')
    this.line(`r.closeTag(${end})`)
    this.line('}')
    this.line(`const ${result} = ${object}`)
    this.line(`if (${unknown} !== undefined) ${result}.unknownTags = ${unknown}`)
    return result!
  }

  /** Emits what reads a value; returns an expression for it that must be used once and at once. */
  value(type: WireType, nullable: boolean): string {
    switch (type.kind) {
      case 'string':
        return this.#kept(`r.${this.method('String', nullable)}(false)`)
      case 'topicName':
        return this.#kept(`r.${this.method('String', nullable)}(true)`)
      case 'bytes':
        return this.#kept(`r.${this.method('Bytes', nullable)}()`)
      case 'records':
        return this.#kept(`r.${this.method('Records', nullable)}()`)
      case 'array':
        return this.#array(type.element, nullable)
      case 'struct':
        return this.struct(type.fields)
      default:
        this.line(`p = r.take(${FIXED_SIZE[type.kind]})`)
        return this.#kept(readFixed(type.kind, 0))
    }
  }

  #kept(expression: string): string {
    const variable = this.fresh('v')
    this.line(`const ${variable} = ${expression}`)
    return variable
  }

  #array(element: WireType, nullable: boolean): string {
    const [list, count, index] = ['a', 'n', 'i'].map((prefix) => this.fresh(prefix))
    const least = minSize(element, this.form.version, this.form.flexible)
    this.line(`const ${count} = r.${this.method('ArrayCount', nullable)}(${least})`)
    this.line(nullable ? `const ${list} = ${count} < 0 ? null : []` : `const ${list} = []`)
    if (isFixed(element)) {
      const size = FIXED_SIZE[element.kind]
      this.line(nullable ? `if (${count} > 0) p = r.take(${count} * ${size})` : `p = r.take(${count} * ${size})`)
      this.line(`for (let ${index} = 0; ${index} < ${count}; ${index}++, p += ${size}) {`)
      this.line(`${list}.push(${readFixed(element.kind, 0)})`)
    } else {
      this.line(`for (let ${index} = 0; ${index} < ${count}; ${index}++) {`)
      this.line(`${list}.push(${this.value(element, false)})`)
    }
    this.line('}')
    return list!
  }
}

class EncoderSource extends Source {
  /** Emits what writes the object that the expression `from` names. */
  struct(fields: Fields, from: string): void {
    let run: { kind: FixedKind; variable: string }[] = []
    const endRun = () => {
      if (run.length === 0) return
      this.line(`p = w.reserve(${run.reduce((sum, { kind }) => sum + FIXED_SIZE[kind], 0)})`)
      let offset = 0
      for (const { kind, variable } of run) {
        this.line(writeFixed(kind, variable, offset))
        offset += FIXED_SIZE[kind]
      }
      run = []
    }
    for (const [name, field] of Object.entries(fields)) {
      if (!this.isCarried(field)) {
        if (!field.traits.isIgnorable) this.line(`if (${this.#differs(field, `${from}.${name}`)}) w.bad()`)
      } else if (field.traits.tag === undefined) {
        const variable = this.#loaded(field, `${from}.${name}`)
        if (isFixed(field.type)) {
          this.#check(field.type.kind, variable)
          run.push({ kind: field.type.kind, variable })
        } else {
          endRun()
          this.#value(field.type, this.isNullable(field), variable)
        }
      }
    }
    endRun()
    if (this.form.flexible) this.#taggedFields(fields, from)
    else this.line(`if (${from}.unknownTags !== undefined && ${from}.unknownTags.length > 0) w.bad()`)
  }

  #taggedFields(fields: Fields, from: string): void {
    const [unknown, count, next] = ['u', 'c', 'x'].map((prefix) => this.fresh(prefix))
    const known = this.tagged(fields).map(([name, field, tag]) => {
      const flag = this.fresh('f')
      this.line(`const ${flag} = ${this.#differs(field, `${from}.${name}`)}`)
      return { name, field, tag, flag }
    })
    this.line(`const ${unknown} = ${from}.unknownTags`)
    const knownCount = known.map(({ flag }) => `(${flag} ? 1 : 0)`).join(' + ') || '0'
    this.line(`const ${count} = ${knownCount} + (${unknown} === undefined ? 0 : ${unknown}.length)`)
    this.line(`w.uvarint(${count})`)
    this.line(`if (${count} > 0) {`)
    this.line(`let ${next} = 0`)
    for (const { name, field, tag, flag } of known) {
      const mark = this.fresh('k')
      this.line(`if (${flag}) {`)
      this.line(`if (${unknown} !== undefined) ${next} = w.unknownTagsBefore(${tag}, ${unknown}, ${next})`)
      this.line(`const ${mark} = w.openTag(${tag})`)
      const variable = this.#loaded(field, `${from}.${name}`)
      this.#value(field.type, this.isNullable(field), variable)
      this.line(`w.closeTag(${mark})`)
      this.line('}')
    }
    this.line(`if (${unknown} !== undefined) w.unknownTagsBefore(Infinity, ${unknown}, ${next})`)
    this.line('}')
  }

  #loaded(field: AnyField, from: string): string {
    const variable = this.fresh('v')
    this.line(`${field.isOptional ? 'let' : 'const'} ${variable} = ${from}`)
    if (field.isOptional) this.line(`if (${variable} === undefined) ${variable} = ${defaultSource(field)}`)
    return variable
  }

  /** Kinds whose writing does not check the value itself. */
  #check(kind: FixedKind, variable: string): void {
    if (kind === 'bool') this.line(`if (typeof ${variable} !== 'boolean') w.bad()`)
    else if (kind === 'int8') this.line(`if (${variable} << 24 >> 24 !== ${variable}) w.bad()`)
    else if (kind === 'int16') this.line(`if (${variable} << 16 >> 16 !== ${variable}) w.bad()`)
    else if (kind === 'int32') this.line(`if ((${variable} | 0) !== ${variable}) w.bad()`)
  }

  #value(type: WireType, nullable: boolean, variable: string): void {
    switch (type.kind) {
      case 'string':
      case 'topicName':
        this.line(`w.${this.method('String', nullable)}(${variable})`)
        break
      case 'bytes':
        this.line(`w.${this.method('Bytes', nullable)}(${variable})`)
        break
      case 'records':
        this.line(`w.${this.method('Records', nullable)}(${variable})`)
        break
      case 'array':
        this.#array(type.element, nullable, variable)
        break
      case 'struct':
        this.struct(type.fields, variable)
        break
      default:
        this.#check(type.kind, variable)
        this.line(`p = w.reserve(${FIXED_SIZE[type.kind]})`)
        this.line(writeFixed(type.kind, variable, 0))
    }
  }

  #array(element: WireType, nullable: boolean, list: string): void {
    const [index, each] = ['i', 'a'].map((prefix) => this.fresh(prefix))
    const writeCount = this.form.flexible ? 'compactArrayCount' : 'arrayCount'
    if (nullable) this.line(`if (${list} === null) w.${writeCount}(-1); else {`)
    this.line(`w.${writeCount}(${list}.length)`)
    this.line(`for (let ${index} = 0; ${index} < ${list}.length; ${index}++) {`)
    this.line(`const ${each} = ${list}[${index}]`)
    this.#value(element, false, each!)
    this.line('}')
    if (nullable) this.line('}')
  }

  /** An expression: is the value given and other than the default? */
  #differs(field: AnyField, from: string): string {
    const { declaredDefault } = field.traits
    const given = `${from} !== undefined`
    if (declaredDefault !== undefined) return `(${given} && ${from} !== ${literal(declaredDefault)})`
    switch (field.type.kind) {
      case 'array':
      case 'bytes':
        return `(${given} && (${from} === null || ${from}.length !== 0))`
      case 'struct': {
        const inner = Object.entries(field.type.fields).map(([name, each]) => this.#differs(each, `${from}.${name}`))
        const unknown = `(${from}.unknownTags !== undefined && ${from}.unknownTags.length > 0)`
        return `(${given} && (${from} === null || ${[...inner, unknown].join(' || ')}))`
      }
      default:
        return `(${given} && ${from} !== ${defaultSource(field)})`
    }
  }
}

function writeFixed(kind: FixedKind, variable: string, offset: number): string {
  const at = offset === 0 ? 'p' : `p + ${offset}`
  switch (kind) {
    case 'bool':
      return `w.buffer[${at}] = ${variable} ? 1 : 0`
    case 'int8':
      return `w.view.setInt8(${at}, ${variable})`
    case 'int16':
      return `w.view.setInt16(${at}, ${variable})`
    case 'int32':
      return `w.view.setInt32(${at}, ${variable})`
    case 'int64':
      return `w.int64At(${at}, ${variable})`
    case 'offset':
    case 'timestampMs':
      return `w.safeInt64At(${at}, ${variable})`
    case 'uuid':
      return `w.uuidAt(${at}, ${variable})`
  }
}

function defaultSource(field: AnyField): string {
  return field.traits.declaredDefault === undefined ? zeroSource(field.type) : literal(field.traits.declaredDefault)
}

function literal(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`
  if (value === null || typeof value === 'boolean' || typeof value === 'number' || typeof value === 'string') {
    return JSON.stringify(value)
  }
  throw new TypeError('a declared default must be a number, bigint, string, boolean or null')
}

function zeroSource(type: WireType): string {
  switch (type.kind) {
    case 'bool':
      return 'false'
    case 'int64':
      return '0n'
    case 'uuid':
      return literal(ZERO_UUID)
    case 'string':
    case 'topicName':
      return "''"
    case 'bytes':
      return 'Buffer.alloc(0)'
    case 'records':
      return 'null'
    case 'array':
      return '[]'
    case 'struct':
      return `{ ${Object.entries(type.fields)
        .map(([name, field]) => `${name}: ${defaultSource(field)}`)
        .join(', ')} }`
    default:
      return '0'
  }
}
