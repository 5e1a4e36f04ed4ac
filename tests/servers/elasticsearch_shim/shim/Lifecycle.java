package shim;

import static org.elasticsearch.rest.RestRequest.Method.DELETE;
import static org.elasticsearch.rest.RestRequest.Method.GET;
import static org.elasticsearch.rest.RestRequest.Method.PUT;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.elasticsearch.ResourceNotFoundException;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionRequest;
import org.elasticsearch.action.ActionResponse;
import org.elasticsearch.action.support.ActionFilters;
import org.elasticsearch.action.support.master.AcknowledgedResponse;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.metadata.IndexNameExpressionResolver;
import org.elasticsearch.cluster.metadata.ItemUsage;
import org.elasticsearch.cluster.metadata.Metadata;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.common.Strings;
import org.elasticsearch.common.settings.Setting;
import org.elasticsearch.injection.guice.Inject;
import org.elasticsearch.plugins.ActionPlugin.ActionHandler;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.action.RestChunkedToXContentListener;
import org.elasticsearch.rest.action.RestToXContentListener;
import org.elasticsearch.tasks.Task;
import org.elasticsearch.transport.TransportService;
import org.elasticsearch.xcontent.ContextParser;
import org.elasticsearch.xcontent.NamedXContentRegistry;
import org.elasticsearch.xcontent.ParseField;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xpack.core.ilm.AllocateAction;
import org.elasticsearch.xpack.core.ilm.DeleteAction;
import org.elasticsearch.xpack.core.ilm.ForceMergeAction;
import org.elasticsearch.xpack.core.ilm.IndexLifecycleMetadata;
import org.elasticsearch.xpack.core.ilm.LifecycleAction;
import org.elasticsearch.xpack.core.ilm.LifecyclePolicy;
import org.elasticsearch.xpack.core.ilm.LifecyclePolicyMetadata;
import org.elasticsearch.xpack.core.ilm.LifecycleSettings;
import org.elasticsearch.xpack.core.ilm.LifecycleType;
import org.elasticsearch.xpack.core.ilm.MigrateAction;
import org.elasticsearch.xpack.core.ilm.ReadOnlyAction;
import org.elasticsearch.xpack.core.ilm.RolloverAction;
import org.elasticsearch.xpack.core.ilm.SearchableSnapshotAction;
import org.elasticsearch.xpack.core.ilm.SetPriorityAction;
import org.elasticsearch.xpack.core.ilm.ShrinkAction;
import org.elasticsearch.xpack.core.ilm.TimeseriesLifecycleType;
import org.elasticsearch.xpack.core.ilm.UnfollowAction;
import org.elasticsearch.xpack.core.ilm.WaitForSnapshotAction;
import org.elasticsearch.xpack.core.ilm.action.DeleteLifecycleAction;
import org.elasticsearch.xpack.core.ilm.action.GetLifecycleAction;
import org.elasticsearch.xpack.core.ilm.action.ILMActions;
import org.elasticsearch.xpack.core.ilm.action.PutLifecycleRequest;

/** x-pack-ilm without its engine: the real settings, the real parsers, a store of policies. */
final class Lifecycle {

    private static final String PATH = "/_ilm/policy/{name}";

    private Lifecycle() {}

    static List<Setting<?>> settings() {
        return List.of(
            LifecycleSettings.LIFECYCLE_NAME_SETTING,
            LifecycleSettings.LIFECYCLE_INDEXING_COMPLETE_SETTING,
            LifecycleSettings.LIFECYCLE_SKIP_SETTING,
            LifecycleSettings.LIFECYCLE_STEP_WAIT_TIME_THRESHOLD_SETTING,
            LifecycleSettings.LIFECYCLE_POLL_INTERVAL_SETTING,
            LifecycleSettings.LIFECYCLE_ROLLOVER_ONLY_IF_HAS_DOCUMENTS_SETTING,
            RolloverAction.LIFECYCLE_ROLLOVER_ALIAS_SETTING);
    }

    static List<NamedXContentRegistry.Entry> parsers() {
        return List.of(
            new NamedXContentRegistry.Entry(
                Metadata.Custom.class, new ParseField(IndexLifecycleMetadata.TYPE),
                parser -> IndexLifecycleMetadata.PARSER.parse(parser, null)),
            new NamedXContentRegistry.Entry(
                LifecycleType.class, new ParseField(TimeseriesLifecycleType.TYPE),
                (parser, context) -> TimeseriesLifecycleType.INSTANCE),
            step(RolloverAction.NAME, (parser, context) -> RolloverAction.parse(parser)),
            step(DeleteAction.NAME, (parser, context) -> DeleteAction.parse(parser)),
            step(ForceMergeAction.NAME, (parser, context) -> ForceMergeAction.parse(parser)),
            step(ShrinkAction.NAME, (parser, context) -> ShrinkAction.parse(parser)),
            step(ReadOnlyAction.NAME, (parser, context) -> ReadOnlyAction.parse(parser)),
            step(SetPriorityAction.NAME, (parser, context) -> SetPriorityAction.parse(parser)),
            step(AllocateAction.NAME, (parser, context) -> AllocateAction.parse(parser)),
            step(MigrateAction.NAME, (parser, context) -> MigrateAction.parse(parser)),
            step(UnfollowAction.NAME, (parser, context) -> UnfollowAction.parse(parser)),
            step(WaitForSnapshotAction.NAME,
                (parser, context) -> WaitForSnapshotAction.parse(parser)),
            step(SearchableSnapshotAction.NAME,
                (parser, context) -> SearchableSnapshotAction.parse(parser)));
    }

    private static NamedXContentRegistry.Entry step(
            String name, ContextParser<Object, ? extends LifecycleAction> parser) {
        return new NamedXContentRegistry.Entry(
            LifecycleAction.class, new ParseField(name), parser);
    }

    static List<ActionHandler<? extends ActionRequest, ? extends ActionResponse>> actions() {
        return List.of(
            new ActionHandler<>(ILMActions.PUT, Put.class),
            new ActionHandler<>(GetLifecycleAction.INSTANCE, Get.class),
            new ActionHandler<>(DeleteLifecycleAction.INSTANCE, Delete.class));
    }

    static List<RestHandler> handlers() {
        return List.of(
            Rest.handler("ilm_put", (request, client) -> {
                var put = putRequest(request);
                return channel -> client.execute(
                    ILMActions.PUT, put, new RestToXContentListener<>(channel));
            }, Rest.route(PUT, PATH)),
            Rest.handler("ilm_get", (request, client) -> {
                var names = Strings.splitStringByCommaToArray(request.param("name", ""));
                var get = new GetLifecycleAction.Request(
                    StateAction.PATIENCE, StateAction.PATIENCE, names);
                return channel -> client.execute(GetLifecycleAction.INSTANCE, get,
                    new RestChunkedToXContentListener<>(channel));
            }, Rest.route(GET, "/_ilm/policy"), Rest.route(GET, PATH)),
            Rest.handler("ilm_delete", (request, client) -> {
                var delete = new DeleteLifecycleAction.Request(
                    StateAction.PATIENCE, StateAction.PATIENCE, request.param("name"));
                return channel -> client.execute(DeleteLifecycleAction.INSTANCE, delete,
                    new RestToXContentListener<>(channel));
            }, Rest.route(DELETE, PATH)));
    }

    private static PutLifecycleRequest putRequest(RestRequest request) throws IOException {
        var name = request.param("name");
        try (XContentParser parser = request.contentParser()) {
            return PutLifecycleRequest.parseRequest(new PutLifecycleRequest.Factory() {
                @Override
                public PutLifecycleRequest create(LifecyclePolicy policy) {
                    return new PutLifecycleRequest(
                        StateAction.PATIENCE, StateAction.PATIENCE, policy);
                }

                @Override
                public String getPolicyName() {
                    return name;
                }
            }, parser);
        }
    }

    private static IndexLifecycleMetadata stored(ClusterState state) {
        return state.metadata()
            .custom(IndexLifecycleMetadata.TYPE, IndexLifecycleMetadata.EMPTY);
    }

    private static ClusterState changed(
            ClusterState state, Consumer<Map<String, LifecyclePolicyMetadata>> change) {
        var before = stored(state);
        var policies = new TreeMap<>(before.getPolicyMetadatas());
        change.accept(policies);
        var after = new IndexLifecycleMetadata(policies, before.getOperationMode());
        var metadata = Metadata.builder(state.metadata())
            .putCustom(IndexLifecycleMetadata.TYPE, after).build();
        return ClusterState.builder(state).metadata(metadata).build();
    }

    private static ResourceNotFoundException notFound(String names) {
        return new ResourceNotFoundException("Lifecycle policy not found: {}", names);
    }

    public static class Put extends StateAction<PutLifecycleRequest, AcknowledgedResponse> {

        @Inject
        public Put(TransportService transport, ActionFilters filters,
                ClusterService cluster, IndexNameExpressionResolver resolver) {
            super(ILMActions.PUT.name(), transport, filters, cluster, resolver,
                PutLifecycleRequest::new);
        }

        @Override
        protected void doExecute(Task task, PutLifecycleRequest request,
                ActionListener<AcknowledgedResponse> listener) {
            var policy = request.getPolicy();
            update(listener, state -> changed(state, policies -> {
                var old = policies.get(policy.getName());
                var version = old == null ? 1 : old.getVersion() + 1;
                policies.put(policy.getName(), new LifecyclePolicyMetadata(
                    policy, Map.of(), version, System.currentTimeMillis()));
            }));
        }
    }

    public static class Get
            extends StateAction<GetLifecycleAction.Request, GetLifecycleAction.Response> {

        @Inject
        public Get(TransportService transport, ActionFilters filters,
                ClusterService cluster, IndexNameExpressionResolver resolver) {
            super(GetLifecycleAction.NAME, transport, filters, cluster, resolver,
                GetLifecycleAction.Request::new);
        }

        @Override
        protected void doExecute(Task task, GetLifecycleAction.Request request,
                ActionListener<GetLifecycleAction.Response> listener) {
            var names = Arrays.asList(request.getPolicyNames());
            var found = stored(cluster.state()).getPolicyMetadatas().values().stream()
                .filter(policy -> names.isEmpty() || names.contains(policy.getName()))
                .map(policy -> new GetLifecycleAction.LifecyclePolicyResponseItem(
                    policy.getPolicy(), policy.getVersion(), policy.getModifiedDateString(),
                    new ItemUsage(List.of(), List.of(), List.of())))
                .toList();
            if (found.isEmpty() && !names.isEmpty()) {
                listener.onFailure(notFound(String.join(",", names)));
            } else {
                listener.onResponse(new GetLifecycleAction.Response(found));
            }
        }
    }

    public static class Delete
            extends StateAction<DeleteLifecycleAction.Request, AcknowledgedResponse> {

        @Inject
        public Delete(TransportService transport, ActionFilters filters,
                ClusterService cluster, IndexNameExpressionResolver resolver) {
            super(DeleteLifecycleAction.NAME, transport, filters, cluster, resolver,
                DeleteLifecycleAction.Request::new);
        }

        @Override
        protected void doExecute(Task task, DeleteLifecycleAction.Request request,
                ActionListener<AcknowledgedResponse> listener) {
            update(listener, state -> changed(state, policies -> {
                if (policies.remove(request.getPolicyName()) == null) {
                    throw notFound(request.getPolicyName());
                }
            }));
        }
    }
}
