"""What the process does right now, as a flame graph."""

from __future__ import annotations

from typing import Final

from flask import Response

from RestAPI.endpoint import endpoint, json_response
from RestAPI.schemas.profile import ProfileFile, ProfileFormat, ProfileQuery
from WalletCore.domain.errors import ProfileRunning
from WalletCore.flame_graph import speedscope, svg
from WalletCore.profiling import Profiler

PROFILE_PATH: Final = "/api/v1/profile"
SVG_TYPE: Final = "image/svg+xml"


class ProfileRoutes:
    """The endpoint of profiles. ``processes``: how many this server has."""

    def __init__(self, profiler: Profiler, processes: int) -> None:
        self._profiler = profiler
        self._processes = processes

    @endpoint(
        tag="Service",
        query=ProfileQuery,
        responses={200: ProfileFile},
        text_type=SVG_TYPE,
        errors=(ProfileRunning,),
    )
    def get_profile(self, query: ProfileQuery) -> Response:
        """Make a profile of the process

        Of the one process that takes the request: its `name` says which one that is, and of how
        many. It is looked at for so many `seconds`, up to 50 times a second, which takes at most
        3 % of a processor, and answered then; threads that only wait are left out. There is one
        profile of a process at a time. When the process is told to stop, the answer comes at once,
        with what there is.
        """
        profile = self._profiler.profile(query.seconds, waiting=query.waiting)
        if query.format is ProfileFormat.SVG:
            return Response(svg(profile, self._processes), content_type=SVG_TYPE)
        return json_response(speedscope(profile, self._processes))
