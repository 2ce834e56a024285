"""Bases as users have them: configurations of many kinds, weights in many files, damaged and incomplete folders.

All are changed copies of the tiny random base of a family.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.inputs.base_folders import (
    IMAGE,
    INDEX,
    LFS,
    SAME,
    SCHEDULER,
    TEXT,
    UNET,
    VAE,
    configured,
    unlisted,
)
from tests.inputs.cases import Case, Table


def unfit(given: str, file: str, values: dict[str, Any], *reasons: str) -> Case:
    """A configuration whose first key is refused; a reason that begins with ``@`` is a whole message."""
    key, value = next(iter(values.items()))
    place = f"{file}: {key}: {json.dumps(value)}: "
    messages = [reason[1:] if reason[0] == "@" else place + reason for reason in reasons]
    return Case(given, configured(file, values), refused=messages)


def read(given: str, make: Callable[[Path], object], line: str = SAME, note: str = "") -> Case:
    return Case(given, make, [line], note=note)


def predicting(given: str, values: dict[str, Any], predicted: str) -> Case:
    return read(given, configured(SCHEDULER, values), f"predicts {predicted}")


# ----------------------------------------------------------------------------------------------------- Stable Diffusion

BETAS = (
    "its forward process is not defined by betas, so no other sampler can follow it -> a scheduler of diffusers with "
    "betas, such as DDIMScheduler or PNDMScheduler"
)
KNOWN = "prediction type not known -> epsilon, v_prediction, sample"
CHANNELS = "-> a text-to-image U-Net, which has the 4 channels of its VAE"
PLAIN = "-> a base whose U-Net takes latents, time and text"
CLASSES = "a class-conditional U-Net, which needs a class label -> a base without class labels"
WIDE = "are {} wide (text_encoder/config.json: hidden_size) -> U-Net and encoder of one base"
OFFSET = "latents with an offset, which this family does not subtract -> a VAE without it"
NUMBER = "not a whole number -> the published configuration"
PUBLISHED = "-> the tokenizer that the base was published with"
SDXL = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "cross_attention_dim": 2048,
}
SECOND = "a further text encoder, as in SDXL, which this family does not read -> a base with one text encoder"


CONFIGURATIONS = (
    predicting("Noise prediction: Stable Diffusion 1.x, 2.x at 512", {"prediction_type": "epsilon"}, "epsilon"),
    predicting("Velocity prediction: Stable Diffusion 2.x at 768", {"prediction_type": "v_prediction"}, "v_prediction"),
    predicting("Prediction of clean latents", {"prediction_type": "sample"}, "sample"),
    *(
        predicting(f"`{name}`, which samples with DDIM", {"_class_name": name}, "epsilon")
        for name in ("PNDMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "LCMScheduler")
    ),
    read(
        "A safety checker and a feature extractor",
        configured(INDEX, {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}),
        "predicts epsilon",
        note="Passed over",
    ),
    unfit(
        "Flow matching: Stable Diffusion 3, Flux", SCHEDULER, {"_class_name": "FlowMatchEulerDiscreteScheduler"}, BETAS
    ),
    unfit("EDM", SCHEDULER, {"_class_name": "EDMEulerScheduler"}, BETAS),
    unfit("Prediction of a flow", SCHEDULER, {"prediction_type": "flow_prediction"}, KNOWN),
    unfit("A misspelt prediction type", SCHEDULER, {"prediction_type": "v-prediction"}, KNOWN),
    unfit("A prediction type that is null", SCHEDULER, {"prediction_type": None}, KNOWN),
    unfit(
        "The older key of clean latents",
        SCHEDULER,
        {"predict_epsilon": False},
        "older name of prediction_type -> prediction_type: sample",
    ),
    unfit(
        "Sigmas of flow matching",
        SCHEDULER,
        {"use_flow_sigmas": True},
        "flow matching -> a schedule of diffusion with betas",
    ),
    unfit(
        "Another noise schedule",
        SCHEDULER,
        {"beta_schedule": "laplace"},
        "noise schedule not known -> linear, scaled_linear, squaredcos_cap_v2",
    ),
    unfit(
        "Another choice of steps",
        SCHEDULER,
        {"timestep_spacing": "logsnr"},
        "choice of steps not known -> null, leading, trailing, linspace",
    ),
    unfit(
        "Inpainting",
        UNET,
        {"in_channels": 9},
        f"an inpainting U-Net, which also takes a mask and an image {CHANNELS}",
    ),
    unfit(
        "Editing: InstructPix2Pix",
        UNET,
        {"in_channels": 8},
        f"a U-Net for image editing, which also takes an image {CHANNELS}",
    ),
    unfit(
        "Upscaling",
        UNET,
        {"in_channels": 7, "num_class_embeds": 1000},
        f"@{UNET}: num_class_embeds: 1000: {CLASSES}",
        f"a U-Net for upscaling, which also takes an image {CHANNELS}",
    ),
    unfit("Depth", UNET, {"in_channels": 5}, f"a U-Net that also takes depth {CHANNELS}"),
    unfit("Other further inputs", UNET, {"in_channels": 12}, f"a U-Net with further inputs {CHANNELS}"),
    unfit("A variance", UNET, {"out_channels": 8}, f"a U-Net with further outputs, such as a variance {CHANNELS}"),
    unfit(
        "SDXL",
        UNET,
        SDXL,
        f"an SDXL-type U-Net, which needs further embeddings besides the text {PLAIN}",
        f"@{UNET}: cross_attention_dim: 2048: the states of text_encoder {WIDE.format(16)}",
    ),
    unfit(
        "A second text encoder",
        INDEX,
        {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]},
        SECOND,
    ),
    Case(
        "A second text encoder that `model_index.json` does not list",
        unlisted,
        refused=[f"{INDEX}: text_encoder_2: null: {SECOND}"],
    ),
    unfit(
        "Embeddings of an image",
        UNET,
        {"addition_embed_type": "image"},
        f"an SDXL-type U-Net, which needs further embeddings besides the text {PLAIN}",
    ),
    unfit("unCLIP", UNET, {"class_embed_type": "projection"}, CLASSES),
    unfit("Class labels", UNET, {"num_class_embeds": 10}, CLASSES),
    unfit(
        "Kandinsky",
        UNET,
        {"encoder_hid_dim_type": "image_proj"},
        f"a U-Net that is conditioned on image embeddings {PLAIN}",
    ),
    unfit(
        "A distilled U-Net: LCM",
        UNET,
        {"time_cond_proj_dim": 256},
        "a distilled U-Net (LCM), which takes the guidance scale as an input -> a base that is not distilled",
    ),
    unfit(
        "A U-Net for video",
        UNET,
        {"_class_name": "UNet3DConditionModel"},
        "not the U-Net of a text-to-image base -> UNet2DConditionModel",
    ),
    unfit(
        "A U-Net for another text encoder",
        UNET,
        {"cross_attention_dim": 24},
        f"the states of text_encoder {WIDE.format(16)}",
    ),
    unfit(
        "The same at one level",
        UNET,
        {"cross_attention_dim": [16, 16, 24, 16]},
        f"the states of text_encoder {WIDE.format(16)}",
    ),
    unfit(
        "A VQ autoencoder",
        VAE,
        {"_class_name": "VQModel"},
        "not the autoencoder of a text-to-image base -> AutoencoderKL",
    ),
    unfit(
        "A VAE with other channels",
        VAE,
        {"latent_channels": 16},
        f"@{UNET}: in_channels: 4: not the VAE's channels {CHANNELS.replace('4', '16')}",
        f"@{UNET}: out_channels: 4: a U-Net with further outputs, such as a variance {CHANNELS.replace('4', '16')}",
    ),
    unfit("A VAE that shifts latents", VAE, {"shift_factor": 0.1}, OFFSET),
    unfit("A VAE with means of latents", VAE, {"latents_mean": [0.1, 0.1, 0.1, 0.1]}, OFFSET),
    unfit("Channels of a VAE that are null", VAE, {"latent_channels": None}, NUMBER),
    unfit("Channels of a U-Net that are a list", UNET, {"in_channels": [9]}, NUMBER),
    unfit(
        "A width that is a word",
        TEXT,
        {"hidden_size": "16"},
        NUMBER,
        f"@{UNET}: cross_attention_dim: 16: the states of text_encoder {WIDE.format(512)}",
    ),
    unfit("T5", TEXT, {"model_type": "t5"}, "not CLIP's text encoder -> clip_text_model"),
    unfit(
        "A tokenizer with more words than the text encoder",
        TEXT,
        {"vocab_size": 20},
        f"@tokenizer/tokenizer.json: ids up to 79, but the text encoder has embeddings for 20 {PUBLISHED}",
    ),
    *(
        Case(
            f"{words} in place of a configuration",
            lambda folder, content=content: (folder / "base" / SCHEDULER).write_text(content),
            refused=[f"{SCHEDULER}: {message} -> a complete base"],
        )
        for words, content, message in (
            ("Half of a file", "{", "not JSON (...)"),
            ("An empty file", "", "not JSON (...)"),
            ("A list", "[1]", "not a map of settings"),
            ("A Git LFS pointer", LFS, "not JSON (...)"),
        )
    ),
)
TEST = "models/bases/test_inputs.py::"
FILES = (
    "A folder, or a hub id, in the layout of diffusers. `check` reads the configurations; weights are read by `run`."
)
STABLE_DIFFUSION = Table("Stable Diffusion", FILES, CONFIGURATIONS, f"{TEST}test_stable_diffusion")
# ----------------------------------------------------------------------------------------------- Stable Video Diffusion

BESIDE = "not the channels of noisy latents and an image beside them -> {}, with a VAE of 4 channels"
STABLE_VIDEO_DIFFUSION = Table(
    "Stable Video Diffusion",
    "As for Stable Diffusion, with an image encoder in place of text encoder and tokenizer.",
    (
        read("An image-to-video base", lambda folder: None, "predicts v_prediction"),
        unfit("A U-Net without an image", UNET, {"in_channels": 4}, BESIDE.format(8)),
        unfit("A U-Net with further outputs", UNET, {"out_channels": 8}, BESIDE.format(4)),
        unfit(
            "A U-Net for another image encoder",
            UNET,
            {"cross_attention_dim": 16},
            "the states of image_encoder are 32 wide (image_encoder/config.json: projection_dim) -> U-Net and encoder "
            "of one base",
        ),
        unfit(
            "Other conditions than frame rate, motion and augmentation",
            UNET,
            {"projection_class_embeddings_input_dim": 32},
            "not the embeddings of frame rate, motion and augmentation -> 24, three embeddings",
        ),
        unfit(
            "A U-Net of another class",
            UNET,
            {"_class_name": "UNet3DConditionModel"},
            "not the U-Net of an image-to-video base -> UNetSpatioTemporalConditionModel",
        ),
        unfit(
            "The VAE of Stable Diffusion",
            VAE,
            {"_class_name": "AutoencoderKL"},
            "not the autoencoder of an image-to-video base -> AutoencoderKLTemporalDecoder",
        ),
        unfit(
            "SigLIP as image encoder",
            IMAGE,
            {"model_type": "siglip_vision_model"},
            "not CLIP's image encoder -> clip_vision_model",
        ),
        unfit("Prediction of a flow", SCHEDULER, {"prediction_type": "flow_prediction"}, KNOWN),
    ),
    f"{TEST}test_stable_video_diffusion",
)
