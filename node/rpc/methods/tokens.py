"""``zvmd_token...``: the tokens by which others come in. Who has the scope admin may call these."""

from __future__ import annotations

from node.rpc.context import Context
from node.rpc.params import JsonList, JsonObject
from node.rpc.registry import Scope, method


@method("zvmd_tokenCreate", scope=Scope.ADMIN)
async def create_token(
    context: Context, name: str, scopes: JsonList, options: JsonObject | None = None
) -> JsonObject:
    """Make a token: {expiresIn?, requestsPerSecond?, connections?, certificateSha256?}. It is shown only once."""
    return JsonObject(await context.need_tokens().create(context.caller, name, list(scopes), options))


@method("zvmd_tokenList", scope=Scope.ADMIN)
async def list_tokens(context: Context) -> JsonList:
    """All tokens without their secrets, and how many connections use each."""
    return JsonList(context.need_tokens().entries())


@method("zvmd_tokenRevoke", scope=Scope.ADMIN)
async def revoke_token(context: Context, name_or_id: str) -> JsonObject:
    """Remove a token; connections that used it are closed."""
    return JsonObject(await context.need_tokens().revoke(name_or_id))
