"""`truestock rules`: the rules of a service, those that it keeps, and rules to try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer

from policies.source.problems import Problem, terminal_safe
from service.cli import options
from service.cli.client import Client, call
from service.cli.console import UserError, count, fitted, format_time, print_json, print_line, say, stdout_console
from service.cli.listed_entries import say_more
from service.cli.views.rules_views import print_revisions, print_rules
from service.policy.rules_folder import problems_text, read_folder
from truestock.v1.policy_service_pb2 import (
    CandidateFilePart,
    GetPolicySetRequest,
    GetPolicySetResponse,
    ListPolicyRevisionsRequest,
    PolicyRevision,
    StreamTestPoliciesRequest,
    StreamTestPoliciesResponse,
    TestPoliciesResponse,
)

app = typer.Typer(
    name="rules", help="Shows the rules of a service, in force or kept, and tests others.", no_args_is_help=True
)

MESSAGE_BYTES = 512 << 10
"""Size of the parts in which a folder is sent."""
SECONDS_PER_MIB = 30.0


@app.command()
def show(
    revision: Annotated[
        str, typer.Argument(metavar="[REVISION]", help="An earlier revision or a candidate; those in force by default.")
    ] = "",
    file: Annotated[list[str] | None, typer.Option("--file", help="Only this file; repeatable.")] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FOLDER", help="Write the files into this new folder.")
    ] = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Shows the rule files of a service: those in force, or those of a revision that it keeps.

    \b
    Examples:
      truestock rules show
      truestock rules show --file rules/routing/default.yaml
      truestock rules show 1f6c0c6ee20be2a3 --save old-rules
    """
    request = GetPolicySetRequest(policy_revision=revision, include_contents=True, paths=file or [])

    async def ask(client: Client) -> GetPolicySetResponse:
        return await client.ask(client.policies.GetPolicySet, request)

    response = call(server, ask)
    if save is not None:
        _save(response, save)
        say(f"Saved {count(len(response.files), 'file')} of the rules {response.policy_revision} in {save}.")
    if as_json:
        # Contents as text: files of rules are UTF-8.
        files = [{"path": x.path, "content": x.content.decode(errors="replace")} for x in response.files]
        print_json({"policy_revision": response.policy_revision, "files": files})
    elif save is None:
        print_rules(response)


@app.command()
def revisions(
    candidates: Annotated[
        bool, typer.Option("--candidates", help="List the candidates that `rules test` has sent instead.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Maximum number of revisions.")] = 50,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists the revisions of the rules that are kept, newest first, with when and where each was in force.

    \b
    Examples:
      truestock rules revisions
      truestock rules revisions --candidates
      truestock rules revisions --limit 1000 --json
    """

    async def read(client: Client) -> tuple[list[PolicyRevision], bool]:
        request = ListPolicyRevisionsRequest(candidates=candidates)
        return await client.list_entries(
            client.policies.ListPolicyRevisions, request, lambda page: page.revisions, limit
        )

    listed, more = call(server, read)
    if as_json:
        print_json(listed)
    else:
        print_revisions(stdout_console(), listed, candidates=candidates)
    say_more(len(listed), "revision", more=more, end="newest")


@app.command("test")
def send_folder(
    rules: Annotated[Path, typer.Argument(help="The rules folder to test.")] = Path("rules"),
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Tests a rules folder on a service, which keeps it as a candidate for 7 days.

    The rules in force are unchanged. `truestock availability --candidate` and
    `truestock allocate --dry-run --candidate` then answer by the candidate,
    from live stock. The exit code is 1 if the rules have problems or failing
    tests. `truestock check` tests without a service.

    \b
    Examples:
      truestock rules test new-rules
      truestock rules test new-rules --json
    """
    if not rules.is_dir():
        raise UserError(f"there is no rules folder {rules}; name an existing folder")
    contents = read_folder(rules.absolute())
    if contents.problems:
        raise UserError(problems_text(contents.problems, contents.files).rstrip())
    if not contents.files:
        raise UserError(f"{rules} has no rule files; name a folder of rules")

    async def ask(client: Client) -> TestPoliciesResponse:
        client.call_seconds += SECONDS_PER_MIB * sum(map(len, contents.files.values())) / (1 << 20)
        # The types of gRPC's stubs do not say that a list of requests is a stream of them.
        stream: Any = client.policies.StreamTestPolicies
        response: StreamTestPoliciesResponse = await client.ask(stream, list(_messages(contents.files)))
        return response.result

    response = call(server, ask)
    if as_json:
        print_json(response)
    else:
        _print_result(response, contents.files)
    raise typer.Exit(1 if response.problem_count or response.failed_count else 0)


def _messages(files: Mapping[str, bytes]) -> Iterator[StreamTestPoliciesRequest]:
    """The files in parts, each in a message of its own unless several small ones fit."""
    parts: list[CandidateFilePart] = []
    size = 0
    for path, content in files.items():
        for start in range(0, max(1, len(content)), MESSAGE_BYTES):
            part = CandidateFilePart(path=path, content=content[start : start + MESSAGE_BYTES], continued=start > 0)
            if parts and (size + len(part.content) > MESSAGE_BYTES or len(parts) == 500):
                yield StreamTestPoliciesRequest(parts=parts)
                parts, size = [], 0
            parts.append(part)
            size += len(part.content)
    yield StreamTestPoliciesRequest(parts=parts)


def _print_result(response: TestPoliciesResponse, files: dict[str, bytes]) -> None:
    for x in response.problems:
        problem = Problem(x.file, x.line, x.column, x.code, x.message, x.help, x.end_line, x.end_column)
        # Lines of the rule file stay as they are, so that the carets below one point to their place.
        typer.echo(problems_text((problem,), files))
    failed = [result for result in response.results if not result.passed]
    for result in failed:
        print_line(fitted(terminal_safe(f"{result.file}:{result.line}: {result.test}: {result.difference}")))
    if response.problem_count:
        print_line(count(response.problem_count, "problem"))
    if not response.policy_revision:
        print_line("Rules with problems are not kept as a candidate.")
        return
    passed = response.test_count - response.failed_count
    tests = f"{count(response.test_count, 'test')}: {passed:,} passed, {response.failed_count:,} failed"
    print_line(f"{tests}; {count(response.untested_count, 'rule')} not covered by any test")
    expire = format_time(response.candidate_expire_time)
    print_line(f"Kept as candidate {response.policy_revision} until {expire}.")


def _save(response: GetPolicySetResponse, folder: Path) -> None:
    """Writes the files into a folder that is new or empty. Raises UserError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists already; name a new folder with --save")
    for file in response.files:
        path = PurePosixPath(file.path)
        # The rules folder's own name begins every path, and the new folder takes its place.
        inside = PurePosixPath(*path.parts[1:]) if len(path.parts) > 1 else path
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"{terminal_safe(file.path)} is not a path inside a rules folder, so it is not written")
        target = folder / inside
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.content)
        except OSError as error:
            raise UserError(f"{target} cannot be written: {error.strerror}") from error
