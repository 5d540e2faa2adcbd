// Draws panels of the dashboards with Grafana's own components: `window.DRAWING` has panels with what Prometheus answered to their
// queries. What Grafana does on the way is done by Grafana's code: transformations, overrides, units, mappings, thresholds. Only
// that which is in none of its packages is done here: Prometheus's JSON becomes frames, and a panel finds its component. A state
// timeline has none.

import {
  applyFieldOverrides,
  createDataFrame,
  createTheme,
  dateTime,
  displayNameOverrideProcessor,
  EventBusSrv,
  FieldType,
  getFieldDisplayValues,
  identityOverrideProcessor,
  Registry,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
  thresholdsOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import {
  BigValue,
  GlobalStyles,
  PanelChrome,
  PanelContextProvider,
  Table,
  ThemeContext,
  TimeSeries,
  VizRepeater,
} from '@grafana/ui';
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import { createRoot } from 'react-dom/client';
import { firstValueFrom } from 'rxjs';

const DRAWING = window.DRAWING;
const CELL = 38;
const GAP = 8;

standardTransformersRegistry.setInit(() =>
  [
    standardTransformers.mergeTransformer,
    standardTransformers.filterByValueTransformer,
    standardTransformers.organizeFieldsTransformer,
  ].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation,
  })),
);

const always = () => true;
const standard = (id, process = identityOverrideProcessor) => ({
  id,
  path: id,
  name: id,
  process,
  shouldApply: always,
  settings: {},
});
const custom = (path) => ({ ...standard(`custom.${path}`), path, isCustom: true });
const PROPERTIES = new Registry(() => [
  ...['unit', 'min', 'max', 'decimals', 'color', 'noValue', 'links'].map((id) => standard(id)),
  standard('displayName', displayNameOverrideProcessor),
  standard('mappings', valueMappingsOverrideProcessor),
  standard('thresholds', thresholdsOverrideProcessor),
  ...[
    'drawStyle',
    'lineWidth',
    'fillOpacity',
    'showPoints',
    'spanNulls',
    'lineInterpolation',
    'stacking',
    'thresholdsStyle',
    'align',
    'cellOptions',
    'inspect',
    'filterable',
    'hidden',
    'width',
    'hideFrom',
    'pointSize',
    'axisPlacement',
    'axisSoftMax',
    'axisSoftMin',
    'lineStyle',
    'scaleDistribution',
  ].map(custom),
]);
// What a panel has that does not say otherwise: Grafana's panels have these defaults in their plugins, which are in no package.
const DEFAULTS = {
  hideFrom: { tooltip: false, viz: false, legend: false },
  pointSize: 5,
  axisPlacement: 'auto',
};

/** The name of a series: the legend with its labels filled in. */
function legend(format, metric) {
  return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? '');
}

/** A frame for each series. */
function series({ target, result }) {
  return result.map(({ metric, values, value }) => {
    const points = values ?? [value];
    return createDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: points.map(([time]) => time * 1000), config: {} },
        {
          name: 'Value',
          type: FieldType.number,
          values: points.map(([, number]) => Number(number)),
          labels: metric,
          config: { displayNameFromDS: legend(target.legendFormat, metric) },
        },
      ],
    });
  });
}

/** One frame for all series, a row for each: the labels are columns. */
function rows({ target: { refId }, result }, several) {
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return createDataFrame({
    refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: result.map(({ value }) => value[0] * 1000) },
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        values: result.map(({ metric }) => metric[label] ?? ''),
        config: { filterable: true },
      })),
      {
        name: several ? `Value #${refId}` : 'Value',
        type: FieldType.number,
        values: result.map(({ value }) => Number(value[1])),
      },
    ],
  });
}

/** The first threshold is at minus infinity, for which JSON has no number; Grafana puts it in when it reads a dashboard. */
function lowest(thresholds) {
  thresholds.steps[0].value = -Infinity;
}

async function prepare({ panel, results }, theme) {
  const raw = panel.type === 'table' ? results.map((one) => rows(one, results.length > 1)) : results.flatMap(series);
  const data = await firstValueFrom(transformDataFrame(panel.transformations ?? [], raw));
  const { defaults, overrides } = panel.fieldConfig;
  lowest(defaults.thresholds);
  for (const { value } of overrides.flatMap(({ properties }) => properties).filter(({ id }) => id === 'thresholds')) {
    lowest(value);
  }
  return applyFieldOverrides({
    data,
    theme,
    timeZone: 'utc',
    replaceVariables: (text) => text,
    fieldConfigRegistry: PROPERTIES,
    fieldConfig: { defaults: { ...defaults, custom: { ...DEFAULTS, ...defaults.custom } }, overrides },
  });
}

function Stat({ panel, frames, theme, width, height }) {
  const values = getFieldDisplayValues({
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text) => text,
    theme,
    data: frames,
    sparkline: false,
    timeZone: 'utc',
  });
  const { colorMode, graphMode, justifyMode, textMode } = panel.options;
  return (
    <VizRepeater
      source={values}
      getValues={() => values}
      width={width}
      height={height}
      orientation={panel.options.orientation}
      renderCounter={0}
      renderValue={({ value, width, height, count }) => (
        <BigValue
          value={value.display}
          count={count}
          width={width}
          height={height}
          theme={theme}
          colorMode={colorMode}
          graphMode={graphMode}
          justifyMode={justifyMode}
          textMode={textMode}
        />
      )}
    />
  );
}

function Lines({ panel, frames, width, height }) {
  const range = {
    from: dateTime(DRAWING.from * 1000),
    to: dateTime(DRAWING.to * 1000),
    raw: { from: 'now-15m', to: 'now' },
  };
  return (
    <TimeSeries
      frames={frames}
      structureRev={1}
      timeRange={range}
      timeZone="utc"
      width={width}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
    />
  );
}

function Rows({ panel, frames, width, height }) {
  return (
    <Table
      data={frames[0]}
      width={width}
      height={height}
      initialSortBy={panel.options.sortBy}
      cellHeight={panel.options.cellHeight}
      fieldConfig={panel.fieldConfig}
      enablePagination={panel.options.footer.enablePagination}
    />
  );
}

const COMPONENTS = { stat: Stat, timeseries: Lines, table: Rows };

function Panel({ panel, frames, theme, unit }) {
  const { x, y, w, h } = panel.gridPos;
  const size = { width: w * unit - GAP, height: h * CELL - GAP };
  const Component = COMPONENTS[panel.type];
  const empty = !frames.some((frame) => frame.length > 0);
  return (
    <div data-panel={panel.title} style={{ position: 'absolute', left: x * unit, top: y * CELL, ...size }}>
      <PanelChrome title={panel.title} description={panel.description} {...size}>
        {(width, height) =>
          empty ? (
            <p>{panel.fieldConfig.defaults.noValue}</p>
          ) : (
            <Component panel={panel} frames={frames} theme={theme} width={width} height={height} />
          )
        }
      </PanelChrome>
    </div>
  );
}

async function draw() {
  const theme = createTheme({ colors: { mode: 'dark' } });
  const prepared = await Promise.all(
    DRAWING.panels.map(async (one) => ({ ...one, frames: await prepare(one, theme) })),
  );
  const unit = DRAWING.width / 24;
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles isExtensionSidebarOpen={false} />
      <PanelContextProvider value={{ eventsScope: 'drawing', eventBus: new EventBusSrv() }}>
        <div id="drawn" style={{ position: 'relative' }}>
          {prepared.map((one, index) => (
            <Panel key={index} {...one} theme={theme} unit={unit} />
          ))}
        </div>
      </PanelContextProvider>
    </ThemeContext.Provider>,
  );
}

draw().catch((error) => {
  document.body.append(`FAILED ${error.stack}`);
});
