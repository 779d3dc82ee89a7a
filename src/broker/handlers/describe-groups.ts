// SPDX-License-Identifier: Apache-2.0
// DescribeGroups (15), versions 0-6.
// Behaviour: the group coordinator's; operations on request are all of them, as without an authorizer in Kafka.
//   3 authorized operations (KIP-430) · 4 static members · 6 GROUP_ID_NOT_FOUND with a message (KIP-1043)
import { DescribeGroups } from '../../protocol/apis/index.ts'
import { GROUP_OPERATIONS } from '../authorized-operations.ts'
import { groupContext } from '../group-context.ts'
import { defineHandler } from '../handler.ts'

export const describeGroups = defineHandler<typeof DescribeGroups>({
  api: DescribeGroups,
  handle(context, request) {
    const { groups } = context.broker.groups.describeGroups(groupContext(context), request)
    return {
      groups: groups.map((group) => ({
        ...group,
        errorMessage: context.header.apiVersion >= 6 ? group.errorMessage : null,
        ...(request.includeAuthorizedOperations && group.errorCode === 0
          ? { authorizedOperations: GROUP_OPERATIONS }
          : {}),
      })),
    }
  },
  errorResponse: (request, errorCode) => ({
    groups: request.groups.map((groupId) => ({
      errorCode,
      groupId,
      groupState: '',
      protocolType: '',
      protocolData: '',
      members: [],
    })),
  }),
})
