"""Profiles in and out."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from pydantic import Field

from RestAPI.schemas.fields import Answer, Flag, Strict
from WalletCore.profiling import MAX_PROFILE_SECONDS, MIN_PROFILE_SECONDS

DEFAULT_PROFILE_SECONDS: Final = 5


class ProfileFormat(StrEnum):
    """How a profile is written."""

    SPEEDSCOPE = "speedscope"
    SVG = "svg"


class ProfileQuery(Strict):
    """How long the process is looked at, and how that is written."""

    seconds: int = Field(
        DEFAULT_PROFILE_SECONDS,
        ge=MIN_PROFILE_SECONDS,
        le=MAX_PROFILE_SECONDS,
        description="How long to look. A whole number.",
    )
    format: ProfileFormat = Field(
        ProfileFormat.SPEEDSCOPE,
        description="speedscope: for https://www.speedscope.app. svg: a picture.",
    )
    waiting: Flag = Field(False, description="true: threads that only wait are in it, too.")


class ProfileFrame(Answer):
    """A function, or what stands for several."""

    name: str
    file: str | None = Field(None, description="As the program imports it.")
    line: int | None = Field(None, ge=0, description="Where it begins.")


class ProfileShared(Answer):
    """What the stacks refer to."""

    frames: list[ProfileFrame]


class SampledProfile(Answer):
    """How often which stack was seen."""

    type: Literal["sampled"]
    name: str
    unit: Literal["microseconds"]
    start_value: int = Field(alias="startValue")
    end_value: int = Field(alias="endValue", ge=0, description="The sum of the weights.")
    samples: list[list[int]] = Field(description="Stacks, as places in the list of frames.")
    weights: list[int] = Field(description="What each stack took.")


class ProfileFile(Answer):
    """A file for speedscope (https://www.speedscope.app/file-format-schema.json)."""

    schema_url: Literal["https://www.speedscope.app/file-format-schema.json"] = Field(
        alias="$schema"
    )
    name: str = Field(description="Which process this is, of how many, and how it was looked at.")
    exporter: str
    active_profile_index: int = Field(alias="activeProfileIndex")
    shared: ProfileShared
    profiles: list[SampledProfile]
