"""The reply of GET /info, as documented."""

from service.contract.info_schemas import InfoReply
from tests.service.http.app_in_process import in_app


def test_reply_fits_its_documentation_when_asked(tiny_bundle):
    async def check(app):
        reply = InfoReply.model_validate((await app.http.get("/info")).json(), strict=True)
        assert reply.bundle["bundle_id"] == app.api.bundles.current.manifest.bundle_id
        assert reply.ad_features == {"price": "dense", "category": "categorical", "brand": "categorical",
                                     "tags": "multi"}

    in_app(tiny_bundle, check)
