"""What a Temporal server is told about our workflows: their search attributes (CONTRACT §7)."""

from __future__ import annotations

from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from session.wire import SEARCH_ATTRIBUTES

RPC_TIMEOUT = timedelta(seconds=5)
_AWAY = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)


async def register_search_attributes(client: Client) -> bool:
    """Register what is missing; False where that is not allowed: sessions then run without them.

    Raises RPCError when Temporal does not answer.
    """
    operator, namespace = client.operator_service, client.namespace
    try:
        listing = ListSearchAttributesRequest(namespace=namespace)
        known = await operator.list_search_attributes(listing, timeout=RPC_TIMEOUT)
        missing = [name for name in SEARCH_ATTRIBUTES if name not in known.custom_attributes]
        if missing:
            keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
            adding = AddSearchAttributesRequest(namespace=namespace, search_attributes=dict.fromkeys(missing, keyword))
            await operator.add_search_attributes(adding, timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status in _AWAY:
            raise
        return False
    return True
